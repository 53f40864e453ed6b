/// Which messages from a desktop's page count as input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
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
