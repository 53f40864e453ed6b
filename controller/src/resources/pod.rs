use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, Pod, PodSecurityContext,
        PodSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference, util::intstr::IntOrString},
};
use kube::{Resource, api::ObjectMeta};
use vdi_api::VDISession;

use crate::{
    observe::{Observed, Spec},
    template::Template,
};

/// The pod of a session: the same name every time, so that creating it twice is creating it once.
pub fn pod_name(session: &str) -> String {
    format!("vdi-{session}")
}

/// What a session's user is told when its pod's name is another pod's.
pub fn pod_name_taken(session: &str) -> String {
    format!("another pod is named {}, which this session needs for its own", pod_name(session))
}

/// The desktop: one unprivileged container with its GPUs, as the [restricted] pod security standard wants it.
///
/// [restricted]: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
pub fn pod(session: &Observed, spec: &Spec, template: &Template) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(pod_name(&session.name)),
            namespace: Some(session.namespace.clone()),
            labels: Some(strings([
                ("app.kubernetes.io/name", "vdi-desktop"),
                ("app.kubernetes.io/managed-by", "vdiwarden"),
                ("vdi.kasm.io/session", &session.name),
            ])),
            annotations: Some(strings([
                ("vdi.kasm.io/user", spec.user.as_str()),
                ("vdi.kasm.io/template", &template.name),
                ("vdi.kasm.io/template-generation", &template.generation.to_string()),
            ])),
            owner_references: Some(vec![owner(session)]),
            ..Default::default()
        },
        spec: Some(PodSpec {
            containers: vec![desktop(spec, template)],
            volumes: Some(vec![shared_memory(template)]),
            node_selector: none_if_empty(template.node_selector.clone()),
            tolerations: Some(template.tolerations.clone()).filter(|list| !list.is_empty()),
            runtime_class_name: template.runtime_class.clone(),
            // A desktop that ended is a session that ended: starting it again would be a loop that nobody sees.
            restart_policy: Some("Never".to_owned()),
            termination_grace_period_seconds: Some(10),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        status: None,
    }
}

fn owner(session: &Observed) -> OwnerReference {
    OwnerReference {
        api_version: VDISession::api_version(&()).into_owned(),
        kind: VDISession::kind(&()).into_owned(),
        name: session.name.clone(),
        uid: session.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn desktop(spec: &Spec, template: &Template) -> Container {
    let gpus = (template.gpu_resource.clone(), Quantity(spec.gpus.to_string()));
    let memory = ("memory".to_owned(), Quantity(spec.memory.to_string()));
    Container {
        name: "desktop".to_owned(),
        image: Some(template.image.clone()),
        ports: Some(vec![ContainerPort {
            name: Some("desktop".to_owned()),
            container_port: template.port,
            ..Default::default()
        }]),
        env: Some(env(template)).filter(|list| !list.is_empty()),
        resources: Some(ResourceRequirements {
            limits: Some(BTreeMap::from([gpus, memory.clone()])),
            requests: Some(BTreeMap::from([memory])),
            claims: None,
        }),
        readiness_probe: Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some(template.probe_path.clone()),
                port: IntOrString::Int(template.port),
                ..Default::default()
            }),
            period_seconds: Some(2),
            timeout_seconds: Some(2),
            failure_threshold: Some(3),
            ..Default::default()
        }),
        // The last lines of its log become the reason that the user reads.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![VolumeMount {
            name: SHARED_MEMORY.to_owned(),
            mount_path: "/dev/shm".to_owned(),
            ..Default::default()
        }]),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn env(template: &Template) -> Vec<EnvVar> {
    let var =
        |var: &vdi_api::EnvVar| EnvVar { name: var.name.clone(), value: Some(var.value.clone()), ..Default::default() };
    template.env.iter().map(var).collect()
}

const SHARED_MEMORY: &str = "shared-memory";

/// Browsers and X clients need more of `/dev/shm` than the 64 MiB that a container gets by itself.
fn shared_memory(template: &Template) -> Volume {
    Volume {
        name: SHARED_MEMORY.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity(template.shared_memory.to_string())),
        }),
        ..Default::default()
    }
}

fn strings<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn none_if_empty(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    Some(map).filter(|map| !map.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_pod_is_the_one_in_the_snapshot() {
        let observed = fixture::observed();
        let pod = pod(&observed, observed.spec.as_ref().unwrap(), &fixture::template());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/resources/pod.yaml");
        let yaml = serde_saphyr::to_string(&pod).unwrap();
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(path, &yaml).unwrap();
        }
        let snapshot = std::fs::read_to_string(path).unwrap();
        assert!(
            yaml == snapshot,
            "src/resources/pod.yaml differs; if that is meant, run with UPDATE_SNAPSHOTS=1:\n{yaml}"
        );
    }
}
