//! A template, with values that can't be wrong.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Toleration;
use kube::ResourceExt;
use vdi_api::{EnvVar, Memory, VDITemplate};

use crate::observe::FieldInvalid;

/// What a desktop is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pub name: String,
    /// Which version of the template this is: `metadata.generation`.
    pub generation: i64,
    pub image: String,
    pub port: i32,
    pub probe_path: String,
    pub env: Vec<EnvVar>,
    pub shared_memory: Memory,
    pub gpu_resource: String,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub runtime_class: Option<String>,
    pub start_deadline: Duration,
    pub failed_retention: Duration,
}

impl TryFrom<&VDITemplate> for Template {
    type Error = FieldInvalid;

    fn try_from(template: &VDITemplate) -> Result<Self, FieldInvalid> {
        let spec = template.spec.clone();
        let duration =
            |text: &str, field| text.parse().map(vdi_api::Timeout::duration).map_err(FieldInvalid::at(field));
        Ok(Self {
            name: template.name_any(),
            generation: template.metadata.generation.unwrap_or_default(),
            image: spec.image,
            port: spec.port,
            probe_path: spec.probe.path,
            env: spec.env,
            shared_memory: spec.shared_memory.parse().map_err(FieldInvalid::at("spec.sharedMemory"))?,
            gpu_resource: spec.gpu.resource_name,
            node_selector: spec.gpu.node_selector,
            tolerations: spec.gpu.tolerations,
            runtime_class: spec.gpu.runtime_class_name,
            start_deadline: duration(&spec.start_deadline, "spec.startDeadline")?,
            failed_retention: duration(&spec.failed_retention, "spec.failedRetention")?,
        })
    }
}
