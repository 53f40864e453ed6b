/// What a desktop renders with, as far as it says.
#[derive(Clone, Debug, PartialEq)]
pub enum Renderer {
    /// The template doesn't say where the image publishes it.
    NotPublished,
    /// The desktop didn't answer, or not with a name.
    Unreadable,
    /// OpenGL's `GL_RENDERER`.
    Named(String),
}

impl Renderer {
    /// Reads what a desktop publishes: the first line, without control characters, at most 120 characters.
    pub fn parse(text: &str) -> Self {
        const SHOWN: usize = 120;
        let line = text.trim().lines().next().unwrap_or_default();
        let name: String = line.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        if name.is_empty() { Self::Unreadable } else { Self::Named(name) }
    }

    /// Whether it is one of [Mesa's drivers] that draw on the processor, or a similar one of others.
    ///
    /// [Mesa's drivers]: https://docs.mesa3d.org/drivers/llvmpipe.html
    pub fn is_software(&self) -> bool {
        const DRIVERS: [&str; 7] =
            ["llvmpipe", "lavapipe", "softpipe", "swrast", "software rasterizer", "swiftshader", "basic render"];
        let Self::Named(name) = self else { return false };
        let name = name.to_ascii_lowercase();
        DRIVERS.iter().any(|driver| name.contains(driver))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_desktop_publishes_is_shown_short_and_without_control_characters() {
        assert_eq!(Renderer::parse(""), Renderer::Unreadable);
        assert_eq!(Renderer::parse("\n\t\n"), Renderer::Unreadable);
        assert_eq!(Renderer::parse("a\u{1b}[31mb\r\nnext"), Renderer::Named("a[31mb".to_owned()));
        assert_eq!(Renderer::parse(&"x".repeat(5000)), Renderer::Named("x".repeat(120)));
    }
}
