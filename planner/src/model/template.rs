use std::{collections::BTreeMap, str::FromStr};

use k8s_openapi::api::core::v1::Toleration;
use kube_core::ResourceExt;
use vdi_api::{
    BasicAuth, Cpu, Deprecation, EnvVar, GpuPlacement, HomeAccess, HomeScope, Invalid, Memory, ProbeKind, PullPolicy,
    Reachable, SecurityProfile, Timeout, VDITemplate,
};

use super::{pinned_template::PinnedTemplate, session::FieldInvalid};

/// A template, with values that can't be wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pub name: String,
    pub image: String,
    pub pull_policy: Option<PullPolicy>,
    pub pull_secrets: Vec<String>,
    pub basic_auth: Option<BasicAuth>,
    pub probe: Probe,
    pub env: Vec<EnvVar>,
    pub cpu_request: Option<Cpu>,
    pub cpu_limit: Option<Cpu>,
    pub storage_request: Memory,
    pub storage_limit: Memory,
    pub shared_memory: Memory,
    pub home: Option<Home>,
    pub gpu: GpuSource,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub runtime_class: Option<String>,
    pub priority_class: Option<String>,
    pub pod_labels: BTreeMap<String, String>,
    pub security: SecurityProfile,
    pub host_users: bool,
    pub run_as_user: Option<i64>,
    pub fs_group: Option<i64>,
    pub reachable: Vec<Reachable>,
    pub deprecated: Option<Deprecation>,
    pub pinned: PinnedTemplate,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub kind: ProbeKind,
    pub path: String,
    pub period_seconds: i32,
    pub failure_threshold: i32,
    pub restart_after: Option<Timeout>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Home {
    pub mount_path: String,
    pub size: Memory,
    pub storage_class: Option<String>,
    pub access: HomeAccess,
    pub scope: HomeScope,
}

/// How a pod requests its GPUs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GpuSource {
    ExtendedResource(String),
    ClaimTemplate(String),
}

impl GpuSource {
    pub fn name(&self) -> &str {
        match self {
            Self::ExtendedResource(name) | Self::ClaimTemplate(name) => name,
        }
    }
}

impl TryFrom<&VDITemplate> for Template {
    type Error = FieldInvalid;

    fn try_from(template: &VDITemplate) -> Result<Self, FieldInvalid> {
        let spec = template.spec.clone();
        let pinned = PinnedTemplate {
            template_generation: template.metadata.generation.unwrap_or_default(),
            port: spec.port,
            protocol: spec.protocol,
            path: spec.path,
            renderer_path: spec.gpu.renderer_path.clone(),
            idle_timeout: parse_optional(spec.idle_timeout.as_deref(), "spec.idleTimeout")?,
            activity: spec.activity,
            max_timeout: parse_optional(spec.max_timeout.as_deref(), "spec.maxTimeout")?,
            start_deadline: parse(&spec.start_deadline, "spec.startDeadline")?,
            failed_retention: parse(&spec.failed_retention, "spec.failedRetention")?,
            log_in_status: spec.log_in_status,
        };
        let cpu = spec.cpu.unwrap_or_default();
        Ok(Self {
            name: template.name_any(),
            image: spec.image,
            pull_policy: spec.image_pull_policy,
            pull_secrets: spec.image_pull_secrets,
            basic_auth: spec.basic_auth,
            probe: Probe {
                kind: spec.probe.kind,
                path: spec.probe.path,
                period_seconds: spec.probe.period_seconds,
                failure_threshold: spec.probe.failure_threshold,
                restart_after: parse_optional(spec.probe.restart_after.as_deref(), "spec.probe.restartAfter")?,
            },
            env: spec.env,
            cpu_request: parse_optional(cpu.request.as_deref(), "spec.cpu.request")?,
            cpu_limit: parse_optional(cpu.limit.as_deref(), "spec.cpu.limit")?,
            storage_request: parse(&spec.ephemeral_storage.request, "spec.ephemeralStorage.request")?,
            storage_limit: parse(&spec.ephemeral_storage.limit, "spec.ephemeralStorage.limit")?,
            shared_memory: parse(&spec.shared_memory, "spec.sharedMemory")?,
            home: spec.home.map(Home::try_from).transpose()?,
            gpu: gpu_source(&spec.gpu),
            node_selector: spec.gpu.node_selector,
            tolerations: spec.gpu.tolerations,
            runtime_class: spec.gpu.runtime_class_name,
            priority_class: spec.priority_class_name,
            pod_labels: spec.pod_labels,
            security: spec.security_profile,
            host_users: spec.host_users,
            run_as_user: spec.run_as_user,
            fs_group: spec.fs_group,
            reachable: spec.network.egress,
            deprecated: spec.deprecated,
            pinned,
        })
    }
}

impl TryFrom<vdi_api::Home> for Home {
    type Error = FieldInvalid;

    fn try_from(home: vdi_api::Home) -> Result<Self, FieldInvalid> {
        Ok(Self {
            size: parse(&home.size, "spec.home.size")?,
            mount_path: home.mount_path,
            storage_class: home.storage_class_name,
            access: home.access_mode,
            scope: home.scope,
        })
    }
}

fn gpu_source(gpu: &GpuPlacement) -> GpuSource {
    match (&gpu.resource_claim_template_name, &gpu.resource_name) {
        (Some(claim), _) => GpuSource::ClaimTemplate(claim.clone()),
        (None, Some(name)) => GpuSource::ExtendedResource(name.clone()),
        (None, None) => GpuSource::ExtendedResource(GpuPlacement::DEFAULT_RESOURCE.to_owned()),
    }
}

fn parse<T: FromStr<Err = Invalid>>(text: &str, field: &'static str) -> Result<T, FieldInvalid> {
    text.parse().map_err(FieldInvalid::at(field))
}

fn parse_optional<T: FromStr<Err = Invalid>>(
    text: Option<&str>,
    field: &'static str,
) -> Result<Option<T>, FieldInvalid> {
    text.map(|text| parse(text, field)).transpose()
}
