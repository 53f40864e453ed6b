//! What is read of the objects that are watched.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{Pod, PodCondition, PodSpec, PodStatus, Secret},
};
use kube::api::ObjectMeta;
use serde::Deserialize;
use vdi_api::VDISession;
use vdi_service::{
    lenient::{Custom, metadata},
    same_resource,
};

#[derive(Clone, Debug, Deserialize)]
pub struct LeanPod {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    host_network: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

/// The Secret with the signing keys.
#[derive(Clone, Debug, Deserialize)]
pub struct LeanSecret {
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    pub data: Option<BTreeMap<String, ByteString>>,
    #[serde(rename = "type")]
    pub type_: Option<String>,
}

same_resource!(LeanPod, Pod);
same_resource!(LeanSecret, Secret);

impl From<LeanPod> for Pod {
    fn from(LeanPod { metadata, spec, status }: LeanPod) -> Self {
        let condition = |Condition { type_, status }| PodCondition { type_, status, ..PodCondition::default() };
        Self {
            metadata,
            spec: Some(PodSpec { host_network: spec.host_network, ..PodSpec::default() }),
            status: Some(PodStatus {
                pod_ip: status.pod_ip,
                conditions: Some(status.conditions.into_iter().map(condition).collect()),
                ..PodStatus::default()
            }),
        }
    }
}

pub fn session(Custom { metadata, spec, status }: Custom<VDISession>) -> VDISession {
    VDISession { metadata: ObjectMeta { annotations: None, labels: None, ..metadata }, spec, status }
}
