// Two printer columns of one type are not a duplicate.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Memory, Timeout};

// As in a VDISession, the fields hold what the API server stored.
/// What a desktop is. Written by administrators, named by sessions.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "vdi.kasm.io",
    version = "v1alpha1",
    kind = "VDITemplate",
    plural = "vditemplates",
    shortname = "vdit",
    derive = "PartialEq",
    doc = "What a desktop is. Written by administrators, named by sessions.",
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image"),
    printcolumn(name = "GPU", type_ = "string", json_path = ".spec.gpu.resourceName"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct VDITemplateSpec {
    /// The container image.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,

    /// The one port on which the desktop is served to browsers, over HTTP.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// How to tell that the desktop is up.
    #[serde(default)]
    pub probe: Probe,

    /// What the image is told through its environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,

    /// The size of `/dev/shm`. It counts against the session's memory.
    #[serde(default = "default_shared_memory")]
    #[schemars(with = "Memory")]
    pub shared_memory: String,

    /// Which GPUs, and on which nodes.
    #[serde(default)]
    pub gpu: GpuPlacement,

    /// How long a desktop may take from getting a node to being up, before the session fails.
    #[serde(default = "default_start_deadline")]
    #[schemars(with = "Timeout")]
    pub start_deadline: String,

    /// How long a failed session stays, so that its user sees why, before it is removed.
    #[serde(default = "default_failed_retention")]
    #[schemars(with = "Timeout")]
    pub failed_retention: String,
}

/// An HTTP GET on the desktop's port that is answered with success once the desktop is up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    #[serde(default = "default_probe_path")]
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub path: String,
}

impl Default for Probe {
    fn default() -> Self {
        Self { path: default_probe_path() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    #[serde(default)]
    pub value: String,
}

/// Where a desktop's GPUs come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuPlacement {
    /// The extended resource that a device plugin advertises: `nvidia.com/gpu`, `amd.com/gpu`, a MIG profile ...
    #[serde(default = "default_resource_name")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_name: String,

    /// Labels that the node must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of GPU nodes that the desktop may be placed on in spite of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,

    /// The RuntimeClass, where the cluster's GPU nodes need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
}

impl Default for GpuPlacement {
    fn default() -> Self {
        Self {
            resource_name: default_resource_name(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            runtime_class_name: None,
        }
    }
}

fn default_resource_name() -> String {
    "nvidia.com/gpu".to_owned()
}

fn default_probe_path() -> String {
    "/".to_owned()
}

fn default_shared_memory() -> String {
    "256Mi".to_owned()
}

fn default_start_deadline() -> String {
    "5m".to_owned()
}

fn default_failed_retention() -> String {
    "1h".to_owned()
}
