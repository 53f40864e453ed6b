//! A pod, of which nothing is even parsed but what the controller reads: its place and its state. The rest is most of its size,
//! and reading it was most of what the controller did.

use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::api::ObjectMeta;
use serde::Deserialize;
use vdi_service::{lenient, same_resource};

/// A pod as the API server sends it, and [`Pod`] describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct LeanPod {
    #[serde(deserialize_with = "lenient::metadata")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: Spec,
    #[serde(default)]
    pub status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    pub node_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub phase: Option<String>,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub conditions: Vec<Condition>,
    pub container_statuses: Vec<Container>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    pub image: String,
    pub restart_count: i32,
    #[serde(default)]
    pub state: ContainerState,
    #[serde(default)]
    pub last_state: ContainerState,
}

same_resource!(LeanPod, Pod);

impl LeanPod {
    /// Whether its containers have stopped for good.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Failed" | "Succeeded"))
    }
}
