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
    /// The extended resource that a device plugin advertises: `nvidia.com/gpu`, `amd.com/gpu`, `gpu.intel.com/xe`, or a MIG
    /// profile such as `nvidia.com/mig-1g.10gb`. Defaults to `nvidia.com/gpu`, unless a claim template is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_name: Option<String>,

    /// The ResourceClaimTemplate (resource.k8s.io/v1), in the sessions' namespaces, that requests one GPU. A session gets one
    /// claim for each of its GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_claim_template_name: Option<String>,

    /// Labels that the node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// The taints of GPU nodes that the desktop tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,

    /// The RuntimeClass, if the cluster's GPU nodes need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,

    /// The path where the image publishes the name of its renderer, as text. The controller reads it once the desktop is ready, and
    /// reports it in the condition `Accelerated`, which stays Unknown without this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub renderer_path: Option<String>,
}

impl GpuPlacement {
    pub const DEFAULT_RESOURCE: &str = "nvidia.com/gpu";
}

/// For a template without a `gpu` section.
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
