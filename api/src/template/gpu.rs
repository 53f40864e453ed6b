use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where a desktop's GPUs come from: a device plugin's extended resource, or a DRA driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.resourceName) && has(self.resourceClaimTemplateName))")
    .message("has either resourceName or resourceClaimTemplateName, not both"))]
pub struct GpuPlacement {
    /// The extended resource that a device plugin advertises: `nvidia.com/gpu`, `amd.com/gpu`, `gpu.intel.com/xe`, a MIG
    /// profile such as `nvidia.com/mig-1g.10gb`. `nvidia.com/gpu`, when neither this nor a claim template is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_name: Option<String>,

    /// The ResourceClaimTemplate (resource.k8s.io/v1), in the sessions' namespaces, that asks for one GPU. A session gets as
    /// many claims as it wants GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_claim_template_name: Option<String>,

    /// Labels that the node must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of GPU nodes that the desktop may be placed on in spite of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,

    /// The RuntimeClass, where the cluster's GPU nodes need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,

    /// Where the image publishes the name of what it renders with, as text. It is read once the desktop is up; the
    /// condition `Accelerated` tells it, and is Unknown without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub renderer_path: Option<String>,
}

impl GpuPlacement {
    pub const DEFAULT_RESOURCE: &str = "nvidia.com/gpu";
}

/// What a template gets that says nothing of GPUs.
impl Default for GpuPlacement {
    fn default() -> Self {
        Self {
            resource_name: Some(Self::DEFAULT_RESOURCE.to_owned()),
            resource_claim_template_name: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            runtime_class_name: None,
            renderer_path: None,
        }
    }
}
