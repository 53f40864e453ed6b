//! The parts of Kubernetes objects that the gateway reads.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        coordination::v1::Lease,
        core::v1::{Pod, PodCondition, PodSpec, PodStatus, Secret},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::api::ObjectMeta;
use serde::Deserialize;
use vdi_api::VDISession;
use vdi_service::{
    lenient::{Custom, metadata},
    same_resource,
};

#[derive(Clone, Debug, Deserialize)]
pub struct PartialPod {
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

/// The Secret that holds the signing keys.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialSecret {
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    pub data: Option<BTreeMap<String, ByteString>>,
    #[serde(rename = "type")]
    pub type_: Option<String>,
}

/// The Lease of a used launch code.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialLease {
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    pub spec: PartialLeaseSpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartialLeaseSpec {
    pub acquire_time: Option<MicroTime>,
    pub holder_identity: Option<String>,
}

same_resource!(PartialPod, Pod);
same_resource!(PartialSecret, Secret);
same_resource!(PartialLease, Lease);

impl From<PartialPod> for Pod {
    fn from(PartialPod { metadata, spec, status }: PartialPod) -> Self {
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

/// A session without its annotations and labels, which nothing reads.
pub fn session(Custom { metadata, spec, status }: Custom<VDISession>) -> VDISession {
    VDISession { metadata: ObjectMeta { annotations: None, labels: None, ..metadata }, spec, status }
}
