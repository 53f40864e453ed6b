//! Of the smaller objects that the controller watches, the parts that it reads.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{Node, PersistentVolumeClaim, PersistentVolumeClaimStatus},
    networking::v1::{NetworkPolicy, NetworkPolicySpec},
    scheduling::v1::PriorityClass,
};
use kube::api::ObjectMeta;
use serde::Deserialize;
use vdi_api::{VDISession, VDITemplate};
use vdi_service::{
    lenient::{Custom, metadata},
    same_resource,
};

use crate::capacity::NodeSize;

/// Of a home it is enough to know whose it is, and that it has a volume.
#[derive(Clone, Debug, Deserialize)]
pub struct LeanClaim {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: ClaimStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct ClaimStatus {
    phase: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct LeanPolicy {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    spec: Option<NetworkPolicySpec>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeanPriority {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    value: i32,
    global_default: Option<bool>,
}

/// Of a node it is enough to know how large it is, and what selects it.
#[derive(Clone, Debug, Deserialize)]
pub struct LeanNode {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    allocatable: BTreeMap<String, String>,
}

same_resource!(LeanNode, Node);
same_resource!(LeanClaim, PersistentVolumeClaim);
same_resource!(LeanPolicy, NetworkPolicy);
same_resource!(LeanPriority, PriorityClass);

pub fn session(Custom { metadata, spec, status }: Custom<VDISession>) -> VDISession {
    // kubectl keeps a copy of what was applied among the annotations.
    VDISession { metadata: ObjectMeta { annotations: None, labels: None, ..metadata }, spec, status }
}

pub fn template(Custom { metadata, spec, status }: Custom<VDITemplate>) -> VDITemplate {
    VDITemplate { metadata: ObjectMeta { annotations: None, ..metadata }, spec, status }
}

pub fn claim(LeanClaim { metadata, status: ClaimStatus { phase } }: LeanClaim) -> PersistentVolumeClaim {
    let status = Some(PersistentVolumeClaimStatus { phase, ..Default::default() });
    PersistentVolumeClaim { metadata, spec: None, status }
}

pub fn policy(LeanPolicy { metadata, spec }: LeanPolicy) -> NetworkPolicy {
    NetworkPolicy { metadata, spec }
}

pub fn node(LeanNode { metadata, status: NodeStatus { allocatable } }: LeanNode) -> NodeSize {
    NodeSize { name: metadata.name.unwrap_or_default(), labels: metadata.labels.unwrap_or_default(), allocatable }
}

pub fn priority(LeanPriority { metadata, value, global_default }: LeanPriority) -> PriorityClass {
    PriorityClass { metadata, value, global_default, ..Default::default() }
}
