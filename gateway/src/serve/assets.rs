//! What the gateway's pages are made with. Their scripts and their style are parts of each page, so that none of them can be lost
//! on its way, and the pages' policy names exactly these.

use std::sync::LazyLock;

use axum::response::Response;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use ring::digest::{SHA256, digest};

use super::pages::own;

pub const STYLE: &str = include_str!("../../assets/style.css");
pub const PAGE: &str = include_str!("../../assets/page.js");
pub const ENTER: &str = include_str!("../../assets/enter.js");
pub const DESKTOP: &str = include_str!("../../assets/desktop.js");
pub const FRAME: &str = include_str!("../../assets/frame.js");
pub const PORTAL: &str = include_str!("../../assets/portal.js");
pub const WAITING: &str = include_str!("../../assets/waiting.js");

const SCRIPTS: [&str; 6] = [PAGE, ENTER, DESKTOP, FRAME, PORTAL, WAITING];

/// The [`Content-Security-Policy`] of all pages: nothing but what is ours, and the desktop in its frame. Not even the host itself
/// is trusted with scripts, as a desktop has its own there.
///
/// [`Content-Security-Policy`]: https://www.w3.org/TR/CSP3/
pub static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let scripts = SCRIPTS.map(source).join(" ");
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {scripts}; connect-src 'self'; img-src 'self'; frame-src 'self'; \
         frame-ancestors 'self'; base-uri 'none'; form-action 'self'",
        source(STYLE)
    );
    HeaderValue::try_from(policy).expect("hashes in base64 are valid in a header")
});

/// How the policy names a script or a style.
pub(super) fn source(content: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, content.as_bytes())))
}

/// What pages ask for besides, by the last part of its path below `/.vdi/`. Whoever asks is answered, so it also tells that the
/// gateway is there.
pub fn asset(name: &str) -> Option<Response> {
    let mut answer = match name {
        "icon.svg" => own(StatusCode::OK, "image/svg+xml", include_str!("../../assets/icon.svg")),
        _ => return None,
    };
    // Short, as a newer gateway's pages need the newer ones.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is between `<script>` and `</script>` is the script, to the last byte, or the policy refuses it.
    #[test]
    fn no_script_and_no_style_ends_its_own_element() {
        for content in SCRIPTS.iter().chain(&[STYLE]) {
            assert!(!content.contains("</") && !content.contains("<!--") && !content.contains('\r'), "{content}");
        }
    }
}
