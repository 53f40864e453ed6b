use strum::{Display, EnumString, VariantNames};

/// What a rule does about a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Mode {
    /// Rejects the request.
    Enforce,
    /// Warns the client.
    Warn,
    /// Nothing.
    Off,
}
