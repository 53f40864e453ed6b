//! The scripts and the style of the pages. They are part of each page, so that none can be lost on its way.

pub const STYLE: &str = include_str!("../../assets/style.css");
pub const PAGE: &str = include_str!("../../assets/page.js");
pub const ENTER: &str = include_str!("../../assets/enter.js");
pub const DESKTOP: &str = include_str!("../../assets/desktop.js");
pub const FRAME: &str = include_str!("../../assets/frame.js");
pub const PORTAL: &str = include_str!("../../assets/portal.js");
pub const WAITING: &str = include_str!("../../assets/waiting.js");

pub const SCRIPTS: [&str; 6] = [PAGE, ENTER, DESKTOP, FRAME, PORTAL, WAITING];

pub const ICON: &str = include_str!("../../assets/icon.svg");

#[cfg(test)]
mod tests {
    use super::*;

    /// A script is everything between `<script>` and `</script>`, to the last byte, or its hash differs.
    #[test]
    fn no_script_and_no_style_ends_its_own_element() {
        for content in SCRIPTS.iter().chain(&[STYLE]) {
            assert!(!content.contains("</") && !content.contains("<!--") && !content.contains('\r'), "{content}");
        }
    }
}
