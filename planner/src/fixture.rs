//! What tests start from: alice's session, valid and new, whose template exists and which has no pod yet.

#![allow(clippy::unwrap_used, reason = "only tests use it")]

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Toleration;
use vdi_api::{
    Activity, BasicAuth, Deprecation, EnvVar, Gpus, HomeAccess, HomeScope, ProbeKind, Protocol, PullPolicy,
    SecurityProfile, VDISession, VDISessionSpec, VDISessionStatus,
};

use crate::model::{
    GpuSource, Home, HomeState, Login, Observed, PinnedTemplate, PodState, Probe, Renderer, Spec, Template,
};

/// 2026-01-01, 12:00:00 UTC.
pub fn noon() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

pub fn observed() -> Observed {
    Observed {
        name: "alice-desktop".to_owned(),
        namespace: "team".to_owned(),
        uid: "7f3a9c1e-0000-4000-8000-000000000001".to_owned(),
        generation: Some(1),
        created: noon() - SignedDuration::from_mins(1),
        deletion: None,
        spec: Ok(spec()),
        status: VDISessionStatus::default(),
        template: Some(Ok(template())),
        pinned: Some(template().pinned),
        pod: PodState::Absent,
        pod_left: None,
        pod_uid: None,
        pod_attempt: 0,
        home: HomeState::Bound,
        former_desktop: None,
        missing_policy: None,
        place: None,
        fits_nowhere: false,
        idle: None,
        login: None,
        renderer: Renderer::NotPublished,
        url: Some("https://alice.vdi.example.com".to_owned()),
    }
}

/// The object itself, in the namespace `team`.
pub fn session(name: &str) -> VDISession {
    let spec = VDISessionSpec {
        user: "alice@example.com".to_owned(),
        template: "ubuntu-desktop".to_owned(),
        resources: Default::default(),
        timeout: "8h".to_owned(),
        suspend: false,
    };
    let mut session = VDISession::new(name, spec);
    session.metadata.namespace = Some("team".to_owned());
    session
}

pub fn spec() -> Spec {
    Spec {
        user: "alice@example.com".parse().unwrap(),
        template: "ubuntu-desktop".to_owned(),
        gpus: Gpus::DEFAULT,
        memory: "4Gi".parse().unwrap(),
        timeout: "8h".parse().unwrap(),
        suspend: false,
    }
}

pub fn template() -> Template {
    Template {
        name: "ubuntu-desktop".to_owned(),
        image: "registry.example.com/desktop:1".to_owned(),
        pull_policy: None,
        pull_secrets: Vec::new(),
        basic_auth: None,
        probe: Probe {
            kind: ProbeKind::Http,
            path: "/".to_owned(),
            period_seconds: 2,
            failure_threshold: 3,
            restart_after: None,
        },
        env: vec![EnvVar { name: "LANG".to_owned(), value: "C.UTF-8".to_owned() }],
        cpu_request: None,
        cpu_limit: None,
        storage_request: "1Gi".parse().unwrap(),
        storage_limit: "10Gi".parse().unwrap(),
        shared_memory: "256Mi".parse().unwrap(),
        home: Some(home()),
        gpu: GpuSource::ExtendedResource("nvidia.com/gpu".to_owned()),
        node_selector: [("gpu".to_owned(), "yes".to_owned())].into(),
        tolerations: Vec::new(),
        runtime_class: Some("nvidia".to_owned()),
        priority_class: None,
        pod_labels: Default::default(),
        security: SecurityProfile::Restricted,
        host_users: true,
        run_as_user: None,
        fs_group: None,
        reachable: Vec::new(),
        deprecated: None,
        pinned: PinnedTemplate {
            template_generation: 3,
            port: 6080,
            protocol: Protocol::Http,
            path: "/".to_owned(),
            renderer_path: None,
            idle_timeout: None,
            activity: Activity::Auto,
            max_timeout: None,
            start_deadline: "5m".parse().unwrap(),
            failed_retention: "1h".parse().unwrap(),
            log_in_status: false,
        },
    }
}

pub fn home() -> Home {
    Home {
        mount_path: "/home/user".to_owned(),
        size: "10Gi".parse().unwrap(),
        storage_class: None,
        access: HomeAccess::ReadWriteOnce,
        scope: HomeScope::User,
    }
}

pub fn basic_auth() -> BasicAuth {
    let text = |text: &str| text.to_owned();
    BasicAuth { user: text("desk"), user_env: Some(text("DESK_USER")), password_env: text("DESK_PASSWORD") }
}

/// What [`basic_auth`] asks for, for [`observed`].
pub fn login() -> Login {
    Login::new(&basic_auth(), "5a8326c2", "d48b23b17626fc1b2b485f7ff7da84db".to_owned())
}

/// Every field set to something else than in [`template`].
pub fn template_with_everything() -> Template {
    let text = |text: &str| text.to_owned();
    let toleration = Toleration {
        key: Some(text("gpu")),
        operator: Some(text("Exists")),
        effect: Some(text("NoSchedule")),
        ..Default::default()
    };
    Template {
        name: text("webtop"),
        image: text("registry.example.com/webtop:1"),
        pull_policy: Some(PullPolicy::Always),
        pull_secrets: vec![text("registry")],
        basic_auth: Some(basic_auth()),
        probe: Probe {
            kind: ProbeKind::Http,
            path: text("/healthz"),
            period_seconds: 5,
            failure_threshold: 2,
            restart_after: Some("2m".parse().unwrap()),
        },
        env: vec![EnvVar { name: text("TITLE"), value: text("{session} of {user} in {namespace}") }],
        cpu_request: Some("500m".parse().unwrap()),
        cpu_limit: Some("4".parse().unwrap()),
        storage_request: "2Gi".parse().unwrap(),
        storage_limit: "20Gi".parse().unwrap(),
        shared_memory: "1Gi".parse().unwrap(),
        home: Some(Home { mount_path: text("/config"), scope: HomeScope::Session, ..home() }),
        gpu: GpuSource::ClaimTemplate(text("one-gpu")),
        node_selector: Default::default(),
        tolerations: vec![toleration],
        runtime_class: None,
        priority_class: Some(text("desktops")),
        pod_labels: [(text("kueue.x-k8s.io/queue-name"), text("gpus"))].into(),
        security: SecurityProfile::Baseline,
        host_users: false,
        run_as_user: Some(0),
        fs_group: Some(1000),
        reachable: Vec::new(),
        deprecated: Some(Deprecation { message: text("it is old"), replacement: Some(text("ubuntu-desktop")) }),
        pinned: PinnedTemplate {
            protocol: Protocol::Https,
            path: text("/desktop"),
            renderer_path: Some(text("/renderer")),
            idle_timeout: Some("30m".parse().unwrap()),
            activity: Activity::Selkies,
            max_timeout: Some("12h".parse().unwrap()),
            log_in_status: true,
            ..template().pinned
        },
    }
}
