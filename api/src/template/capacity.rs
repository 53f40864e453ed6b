use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The GPUs that a template's sessions compete for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// How many GPUs of the template's kind there are on nodes that accept its desktops. Absent with a claim template: what a DRA
    /// driver could hand out can't be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<i64>,

    /// How many of them no pod holds, desktop or not. A session that wants several needs them on one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<i64>,

    /// How many sessions wait for them, also of other templates that want the same GPUs on the same nodes.
    #[serde(default)]
    pub waiting: i64,

    /// While none is free: when the first of the desktops that hold them ends, if nobody extends or uses it. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_free: Option<Time>,
}
