//! A session as the tests start from: alice's, valid, new, with its template there and no pod yet.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use vdi_api::{EnvVar, Gpus, VDISession, VDISessionSpec, VDISessionStatus};

use crate::{
    observe::{Observed, Spec},
    pod_state::PodState,
    template::Template,
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
        deleting: false,
        spec: Ok(spec()),
        status: VDISessionStatus::default(),
        template: Some(Ok(template())),
        pod: PodState::Absent,
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
        generation: 3,
        image: "registry.example.com/desktop:1".to_owned(),
        port: 6080,
        probe_path: "/".to_owned(),
        env: vec![EnvVar { name: "LANG".to_owned(), value: "C.UTF-8".to_owned() }],
        shared_memory: "256Mi".parse().unwrap(),
        gpu_resource: "nvidia.com/gpu".to_owned(),
        node_selector: [("gpu".to_owned(), "yes".to_owned())].into(),
        tolerations: Vec::new(),
        runtime_class: Some("nvidia".to_owned()),
        start_deadline: Duration::from_secs(300),
        failed_retention: Duration::from_secs(3600),
    }
}
