//! The parts that the controller reads of the smaller objects that it watches.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{Event, Node, PersistentVolumeClaim, PersistentVolumeClaimStatus, Taint},
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

use super::node_size::NodeSize;

/// Whose a home is, and whether it has a volume.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialClaim {
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
pub struct PartialPolicy {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    spec: Option<NetworkPolicySpec>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartialPriority {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    value: i32,
    global_default: Option<bool>,
}

/// How large a node is, what selects it, and what keeps pods off.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialNode {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NodeSpec {
    #[serde(default)]
    taints: Vec<PartialTaint>,
}

/// Without the time, which anybody who may change nodes could make unreadable.
#[derive(Clone, Debug, Deserialize)]
struct PartialTaint {
    key: String,
    value: Option<String>,
    effect: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    allocatable: BTreeMap<String, String>,
}

/// An event about a claim.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialEvent {
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    pub message: Option<String>,
}

same_resource!(PartialEvent, Event);
same_resource!(PartialNode, Node);
same_resource!(PartialClaim, PersistentVolumeClaim);
same_resource!(PartialPolicy, NetworkPolicy);
same_resource!(PartialPriority, PriorityClass);

pub fn session(Custom { metadata, spec, status }: Custom<VDISession>) -> VDISession {
    // kubectl apply keeps a copy of the object among the annotations.
    VDISession { metadata: ObjectMeta { annotations: None, labels: None, ..metadata }, spec, status }
}

pub fn template(Custom { metadata, spec, status }: Custom<VDITemplate>) -> VDITemplate {
    VDITemplate { metadata: ObjectMeta { annotations: None, ..metadata }, spec, status }
}

pub fn claim(PartialClaim { metadata, status: ClaimStatus { phase } }: PartialClaim) -> PersistentVolumeClaim {
    let status = Some(PersistentVolumeClaimStatus { phase, ..Default::default() });
    PersistentVolumeClaim { metadata, spec: None, status }
}

pub fn policy(PartialPolicy { metadata, spec }: PartialPolicy) -> NetworkPolicy {
    NetworkPolicy { metadata, spec }
}

pub fn node(PartialNode { metadata, spec, status }: PartialNode) -> NodeSize {
    let taint = |PartialTaint { key, value, effect }| Taint { key, value, effect, time_added: None };
    NodeSize {
        name: metadata.name.unwrap_or_default(),
        labels: metadata.labels.unwrap_or_default(),
        taints: spec.taints.into_iter().map(taint).collect(),
        allocatable: status.allocatable,
    }
}

pub fn priority(PartialPriority { metadata, value, global_default }: PartialPriority) -> PriorityClass {
    PriorityClass { metadata, value, global_default, ..Default::default() }
}
