use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What desktops may reach in addition to DNS and the Internet without private and link-local addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkAccess {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub egress: Vec<Reachable>,
}

impl NetworkAccess {
    pub fn is_empty(&self) -> bool {
        self.egress.is_empty()
    }
}

/// A network that desktops may connect to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reachable {
    /// The network, such as `10.20.0.0/16`.
    #[schemars(regex(pattern = "^[0-9a-fA-F.:]+/[0-9]{1,3}$"), length(max = 49))]
    pub cidr: String,

    /// The TCP ports. Empty: all ports and protocols.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub ports: Vec<u16>,
}
