use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, LocalObjectReference,
        PersistentVolumeClaimVolumeSource, Pod, PodResourceClaim, PodSpec, Probe, ResourceClaim, ResourceRequirements,
        TCPSocketAction, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use vdi_api::{ProbeKind, Protocol, desktop_pod as keys};

use super::{
    home::home_name,
    login::{login_annotations, login_env},
    metadata::{labels, owner, strings},
    security,
};
use crate::model::{GpuSource, Observed, PinnedTemplate, Spec, Template};

/// The label `app.kubernetes.io/name` of desktops.
pub const DESKTOP: &str = "vdi-desktop";

/// The message for a session whose pod's name is taken.
pub fn pod_name_taken(session: &str) -> String {
    format!("a pod named {} exists and isn't this session's: delete it", keys::pod_name(session))
}

/// The desktop: one container with its GPUs, under the template's security profile.
pub fn pod(session: &Observed, spec: &Spec, template: &Template) -> Pod {
    let home = template.home.as_ref().map(|home| home_name(&session.uid, spec, home));
    let mut all_labels = template.pod_labels.clone();
    all_labels.extend(labels([
        ("app.kubernetes.io/name", DESKTOP),
        (keys::SESSION, &session.name),
        (keys::SESSION_UID, &session.uid),
    ]));
    Pod {
        metadata: ObjectMeta {
            name: Some(keys::pod_name(&session.name)),
            namespace: Some(session.namespace.clone()),
            labels: Some(all_labels),
            annotations: Some(annotations(session, spec, template, home.as_deref())),
            owner_references: Some(vec![owner(session)]),
            ..Default::default()
        },
        spec: Some(PodSpec {
            containers: vec![desktop(session, spec, template)],
            volumes: Some([Some(shared_memory(template)), home.map(home_volume)].into_iter().flatten().collect()),
            image_pull_secrets: some(
                template.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect(),
            ),
            node_selector: Some(template.node_selector.clone()).filter(|map| !map.is_empty()),
            tolerations: some(template.tolerations.clone()),
            runtime_class_name: template.runtime_class.clone(),
            priority_class_name: template.priority_class.clone(),
            resource_claims: some(claims(spec, template)),
            active_deadline_seconds: active_deadline(template),
            host_users: (!template.host_users).then_some(false),
            // A desktop that crashes is restarted in place, and one that exits has ended.
            restart_policy: Some("OnFailure".to_owned()),
            termination_grace_period_seconds: Some(10),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(security::of_pod(template)),
            ..Default::default()
        }),
        status: None,
    }
}

/// Releases the GPU even if no controller runs. A running controller ends the session earlier, since its time counts from when the
/// desktop was up.
fn active_deadline(template: &Template) -> Option<i64> {
    let PinnedTemplate { max_timeout, start_deadline, .. } = &template.pinned;
    let longest = max_timeout.as_ref()?.duration() + start_deadline.duration();
    i64::try_from(longest.as_secs()).ok()
}

fn annotations(session: &Observed, spec: &Spec, template: &Template, home: Option<&str>) -> BTreeMap<String, String> {
    let mut annotations = template.pinned.to_annotations();
    annotations.extend(strings([(keys::USER, spec.user.as_str()), (keys::TEMPLATE, &template.name)]));
    annotations.extend(home.map(|home| (keys::HOME.to_owned(), home.to_owned())));
    let attempt = session.status.failed_pods;
    annotations.extend(session.login.iter().flat_map(login_annotations));
    annotations.extend((attempt > 0).then(|| (keys::FAILED_PODS.to_owned(), attempt.to_string())));
    annotations
}

fn desktop(session: &Observed, spec: &Spec, template: &Template) -> Container {
    let home = template.home.as_ref().map(|home| mount(HOME, &home.mount_path));
    let probe = readiness(template);
    Container {
        name: "desktop".to_owned(),
        image: Some(template.image.clone()),
        image_pull_policy: template.pull_policy.map(|policy| format!("{policy:?}")),
        ports: Some(vec![ContainerPort {
            name: Some("desktop".to_owned()),
            container_port: template.pinned.port,
            ..Default::default()
        }]),
        env: some(env(session, spec, template)),
        resources: Some(resources(spec, template)),
        liveness_probe: liveness(template, &probe),
        readiness_probe: Some(probe),
        // The last lines of its log go into the session's status.
        termination_message_policy: template.pinned.log_in_status.then(|| "FallbackToLogsOnError".to_owned()),
        volume_mounts: Some([Some(mount(SHARED_MEMORY, "/dev/shm")), home].into_iter().flatten().collect()),
        security_context: Some(security::of_container(template)),
        ..Default::default()
    }
}

/// The memory request equals the limit, so that no desktop is evicted because of others' memory.
fn resources(spec: &Spec, template: &Template) -> ResourceRequirements {
    let quantity = |name: &str, amount: String| (name.to_owned(), Quantity(amount));
    let memory = quantity("memory", spec.memory.to_string());
    let storage = |amount: vdi_api::Memory| Some(quantity("ephemeral-storage", amount.to_string()));
    let cpu = |cpu: Option<vdi_api::Cpu>| cpu.map(|cpu| quantity("cpu", cpu.to_string()));
    let gpus = match &template.gpu {
        GpuSource::ExtendedResource(name) => Some(quantity(name, spec.gpus.to_string())),
        GpuSource::ClaimTemplate(_) => None,
    };
    let names = claims(spec, template).into_iter().map(|claim| ResourceClaim { name: claim.name, request: None });
    ResourceRequirements {
        limits: Some(
            [Some(memory.clone()), cpu(template.cpu_limit), storage(template.storage_limit), gpus]
                .into_iter()
                .flatten()
                .collect(),
        ),
        requests: Some(
            [Some(memory), cpu(template.cpu_request), storage(template.storage_request)]
                .into_iter()
                .flatten()
                .collect(),
        ),
        claims: some(names.collect()),
    }
}

/// One [claim] a GPU: the claim template asks for one.
///
/// [claim]: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
fn claims(spec: &Spec, template: &Template) -> Vec<PodResourceClaim> {
    let GpuSource::ClaimTemplate(claim_template) = &template.gpu else { return Vec::new() };
    let claim = |number| PodResourceClaim {
        name: format!("gpu-{number}"),
        resource_claim_template_name: Some(claim_template.clone()),
        ..Default::default()
    };
    (0..spec.gpus.get()).map(claim).collect()
}

fn readiness(template: &Template) -> Probe {
    let port = IntOrString::Int(template.pinned.port);
    let probe = &template.probe;
    let (http_get, tcp_socket) = match probe.kind {
        ProbeKind::Tcp => (None, Some(TCPSocketAction { port, host: None })),
        ProbeKind::Http => {
            // The kubelet accepts any certificate.
            let scheme = (template.pinned.protocol == Protocol::Https).then(|| "HTTPS".to_owned());
            (Some(HTTPGetAction { path: Some(probe.path.clone()), port, scheme, ..Default::default() }), None)
        }
    };
    Probe {
        http_get,
        tcp_socket,
        period_seconds: Some(probe.period_seconds),
        timeout_seconds: Some(2),
        failure_threshold: Some(probe.failure_threshold),
        ..Default::default()
    }
}

/// Begins after the start deadline: until then the kubelet must not restart a desktop that starts slowly.
fn liveness(template: &Template, readiness: &Probe) -> Option<Probe> {
    let seconds = |time: vdi_api::Timeout| i32::try_from(time.duration().as_secs()).unwrap_or(i32::MAX);
    let failures = seconds(template.probe.restart_after?) / template.probe.period_seconds;
    Some(Probe {
        failure_threshold: Some(failures.max(1)),
        initial_delay_seconds: Some(seconds(template.pinned.start_deadline)),
        ..readiness.clone()
    })
}

fn env(session: &Observed, spec: &Spec, template: &Template) -> Vec<EnvVar> {
    // The kubelet expands $(NAME), which it must not do in what a user chose.
    let literal = |text: &str| text.replace('$', "$$");
    let values = [
        ("{user}", literal(spec.user.as_str())),
        ("{session}", session.name.clone()),
        ("{namespace}", session.namespace.clone()),
    ];
    let var = |var: &vdi_api::EnvVar| EnvVar {
        name: var.name.clone(),
        value: Some(substitute(&var.value, &values)),
        ..Default::default()
    };
    let login = session.login.iter().flat_map(|login| login_env(session, login));
    template.env.iter().map(var).chain(login).collect()
}

/// In one pass: inserted values are not searched for placeholders.
fn substitute(text: &str, values: &[(&str, String)]) -> String {
    let (mut result, mut rest) = (String::new(), text);
    while let Some(start) = rest.find('{') {
        result.push_str(&rest[..start]);
        rest = &rest[start..];
        let found = values.iter().find(|(placeholder, _)| rest.starts_with(placeholder));
        let (value, length) = found.map_or(("{", 1), |(placeholder, value)| (value, placeholder.len()));
        result.push_str(value);
        rest = &rest[length..];
    }
    result + rest
}

const SHARED_MEMORY: &str = "shared-memory";
const HOME: &str = "home";

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..Default::default() }
}

/// Browsers and X clients need more of `/dev/shm` than a container's default of 64 MiB.
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

fn home_volume(claim: String) -> Volume {
    Volume {
        name: HOME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource { claim_name: claim, read_only: None }),
        ..Default::default()
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn made(template: &Template) -> Pod {
        pod(&fixture::observed(), &fixture::spec(), template)
    }

    #[test]
    fn a_plain_pod_is_the_one_in_the_snapshot() {
        insta::assert_yaml_snapshot!("pod", &made(&fixture::template()));
    }

    #[test]
    fn a_pod_with_everything_is_the_one_in_the_snapshot() {
        let mut seen = fixture::observed();
        seen.status.failed_pods = 2;
        seen.login = Some(fixture::login());
        let spec = Spec { gpus: 2.try_into().unwrap(), ..fixture::spec() };
        insta::assert_yaml_snapshot!("pod-with-everything", &pod(&seen, &spec, &fixture::template_with_everything()));
    }

    #[test]
    fn placeholders_are_filled_in_once_and_other_braces_are_left_alone() {
        let values = [("{user}", "{session}".to_owned()), ("{session}", "desk".to_owned())];
        for (text, expected) in [
            ("{user} in {session}", "{session} in desk"),
            ("{users} {", "{users} {"),
            ("{{session}}", "{desk}"),
            ("ä{session}ö", "ädeskö"),
            ("", ""),
        ] {
            assert_eq!(substitute(text, &values), expected);
        }
    }

    #[test]
    fn an_address_with_a_dollar_is_not_expanded_by_the_kubelet() {
        let spec = Spec { user: "$(SECRET)@example.com".parse().unwrap(), ..fixture::spec() };
        let env_var = vdi_api::EnvVar { name: "MAIL".to_owned(), value: "{user} $(HOME)".to_owned() };
        let template = Template { env: vec![env_var], ..fixture::template() };
        let env = env(&fixture::observed(), &spec, &template);
        assert_eq!(env[0].value.as_deref(), Some("$$(SECRET)@example.com $(HOME)"));
    }
}
