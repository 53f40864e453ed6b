use k8s_openapi::api::core::v1::Pod;
use kube::api::ObjectMeta;
use serde::Deserialize;
use vdi_planner::model::PodStatus;
use vdi_service::{lenient, same_resource};

/// The part of a pod that the controller reads: whose it is and what it is doing. The rest is most of its size, and parsing it was
/// most of what the controller did.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialPod {
    #[serde(deserialize_with = "lenient::metadata")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: PartialPodSpec,
    #[serde(default)]
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartialPodSpec {
    pub node_name: Option<String>,
}

same_resource!(PartialPod, Pod);
