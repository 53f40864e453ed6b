/// Which messages from a desktop's page count as input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "crd", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "crd", serde(rename_all = "lowercase"))]
pub enum Activity {
    #[default]
    Auto,
    Rfb,
    Selkies,
    Any,
    None,
}

impl Activity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Rfb => "rfb",
            Self::Selkies => "selkies",
            Self::Any => "any",
            Self::None => "none",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Auto, Self::Rfb, Self::Selkies, Self::Any, Self::None];
        all.into_iter().find(|activity| activity.name() == name)
    }
}
