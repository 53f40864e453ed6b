//! The session that tests start from: alice's, running.

use jiff::Timestamp;
use vdi_api::{Activity, Phase};

use crate::sessions::{Desktop, ReadyCondition, Session};

/// 2026-01-01, 12:00:00 UTC.
pub fn noon() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

pub fn session() -> Session {
    Session {
        namespace: "team".to_owned(),
        name: "alice-desktop".to_owned(),
        uid: "7f3a9c1e".to_owned(),
        host: "alice.vdi.example.com".to_owned(),
        owner: "alice@example.com".parse().unwrap(),
        template: "ubuntu-desktop".to_owned(),
        phase: Phase::Running,
        ready: ReadyCondition::default(),
        ahead: None,
        ends: None,
        timeout: None,
        idle_timeout: None,
        activity: Activity::Auto,
        idle_ends: None,
        desktop: Some(Desktop {
            address: "10.1.2.3:6080".parse().unwrap(),
            is_ready: true,
            tls: false,
            authorization: None,
            path: "/".to_owned(),
        }),
        obstacle: None,
    }
}
