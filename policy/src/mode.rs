/// What a rule does about a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Rejects the request.
    Enforce,
    /// Warns the client.
    Warn,
    /// Nothing.
    Off,
}

impl Mode {
    pub const NAMES: &[&str] = &["enforce", "warn", "off"];

    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Self::Enforce, Self::Warn, Self::Off].into_iter().find(|mode| mode.name() == name)
    }
}
