//! Sessions and desktops, parsed from the objects that the controller keeps.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use serde_json::{Value, json};
use vdi_api::{Activity, Phase, VDISession};
use vdi_service::{LoginKeys, Reach};

use super::*;
use crate::{
    fixture::{noon, session},
    request::PublicUrl,
};

fn public() -> PublicUrl {
    "https://vdi.example.com".parse().unwrap()
}

fn object(changes: impl FnOnce(&mut Value)) -> VDISession {
    let mut session = json!({
        "apiVersion": "vdi.kasm.io/v1alpha1",
        "kind": "VDISession",
        "metadata": { "namespace": "team", "name": "alice-desktop", "uid": "1" },
        "spec": { "user": "alice@example.com", "template": "ubuntu-desktop" },
        "status": {
            "phase": "Running",
            "url": "https://alice.vdi.example.com",
            "expiresAt": "2026-01-01T20:00:00Z",
            "expiry": "Timeout",
            "queue": { "ahead": 2, "since": "2026-01-01T20:00:00Z" },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Running", "message": "the desktop is up",
                "lastTransitionTime": "2026-01-01T20:00:00Z",
            }],
        },
    });
    changes(&mut session);
    serde_json::from_value(session).unwrap()
}

fn pod(changes: impl FnOnce(&mut Value)) -> DesktopPod {
    pod_within(&Reach::default(), changes)
}

fn pod_within(reach: &Reach, changes: impl FnOnce(&mut Value)) -> DesktopPod {
    let mut pod = json!({
        "metadata": {
            "namespace": "team",
            "name": "vdi-alice-desktop",
            "annotations": {
                "vdi.kasm.io/port": "6901", "vdi.kasm.io/protocol": "https", "vdi.kasm.io/idle-timeout": "30m",
                "vdi.kasm.io/path": "/vnc.html", "vdi.kasm.io/activity": "selkies",
            },
            "ownerReferences": [
                { "apiVersion": "vdi.kasm.io/v1alpha1", "kind": "VDISession", "name": "alice-desktop", "uid": "1" },
                { "apiVersion": "apps/v1", "kind": "VDISession", "name": "alice-desktop", "uid": "2" },
            ],
        },
        "spec": { "containers": [] },
        "status": { "podIP": "10.1.2.3", "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    changes(&mut pod);
    DesktopPod::of(&serde_json::from_value(pod).unwrap(), reach)
}

#[test]
fn a_running_session_has_its_host_its_owner_and_its_desktop() {
    let session = Session::of(&object(|_| {}), Some(&pod(|_| {})), &public(), &LoginKeys::default()).unwrap();
    assert_eq!((&*session.host, session.owner.as_str()), ("alice.vdi.example.com", "alice@example.com"));
    let address = "10.1.2.3:6901".parse().unwrap();
    assert_eq!(
        session.desktop,
        Some(Desktop { address, is_ready: true, tls: true, authorization: None, path: "/vnc.html".to_owned() })
    );
    assert_eq!((session.idle_timeout, session.activity), ("30m".parse().ok(), Activity::Selkies));
    assert_eq!(session.ends, "2026-01-01T20:00:00Z".parse().ok());
    assert_eq!((&*session.ready.reason, session.ahead), ("Running", Some(2)));
}

/// Its desktops run on while the programs are upgraded, and some controllers are older than the gateways meanwhile.
#[test]
fn a_desktop_that_a_controller_of_the_last_release_runs_is_opened() {
    let session: VDISession =
        serde_json::from_str(include_str!("../../../tests/last-release/formats/session.json")).unwrap();
    let pod = serde_json::from_str(include_str!("../../../tests/last-release/formats/pod.json")).unwrap();
    let login: Value = serde_json::from_str(include_str!("../../../tests/last-release/formats/login.json")).unwrap();
    let text = |field: &str| login[field].as_str().unwrap();
    let keys: LoginKeys = text("key").parse().unwrap();

    let session = Session::of(&session, Some(&DesktopPod::of(&pod, &Reach::default())), &public(), &keys).unwrap();
    assert_eq!((&*session.uid, &*session.host), (text("uid"), "alice.vdi.example.com"));
    assert_eq!((session.owner.as_str(), &*session.template), ("alice@example.com", "formats"));
    assert_eq!((session.phase, &*session.ready.reason), (Phase::Running, "Running"));
    assert_eq!((session.ends, session.timeout), (Some(noon()), "8h".parse().ok()));
    assert_eq!((session.idle_timeout, session.activity), ("30m".parse().ok(), Activity::Selkies));
    let desktop = session.running().unwrap();
    assert_eq!((desktop.address, desktop.tls), ("10.1.2.3:6901".parse().unwrap(), true));
    assert_eq!(desktop.path, "/vnc.html");
    let login = STANDARD.encode(format!("desk:{}", text("password")));
    assert_eq!(desktop.authorization.as_ref().unwrap(), &format!("Basic {login}"));
}

#[test]
fn a_deadline_of_a_newer_version_is_no_end_that_this_one_knows() {
    let session = object(|session| session["status"]["expiry"] = json!("Quota"));
    let session = Session::of(&session, Some(&pod(|_| {})), &public(), &LoginKeys::default()).unwrap();
    assert!(session.running().is_some());
    assert_eq!((session.ends, session.timeout, session.idle_ends), (None, None, None));
}

#[test]
fn a_session_without_a_host_of_ours_or_a_user_is_none() {
    for spoil in [
        |session: &mut Value| session["status"]["url"] = json!("http://10.1.2.3:6901/"),
        |session: &mut Value| session["status"]["url"] = json!("https://vdi.example.com"),
        |session: &mut Value| session["status"]["url"] = Value::Null,
        |session: &mut Value| session["spec"]["user"] = json!("alice"),
        |session: &mut Value| session["status"] = Value::Null,
    ] {
        assert_eq!(Session::of(&object(spoil), None, &public(), &LoginKeys::default()), None);
    }
    let deleted = object(|session| session["metadata"]["deletionTimestamp"] = json!("2026-01-01T20:00:00Z"));
    assert_eq!(Session::of(&deleted, None, &public(), &LoginKeys::default()).unwrap().phase, Phase::Terminating);
}

#[test]
fn the_start_deadline_is_not_the_end_of_a_session() {
    for (expiry, idle_ends) in [("StartDeadline", None), ("Idle", "2026-01-01T20:00:00Z".parse().ok())] {
        let session = object(|session| session["status"]["expiry"] = json!(expiry));
        let session = Session::of(&session, None, &public(), &LoginKeys::default()).unwrap();
        assert_eq!((session.ends, session.idle_ends), (None, idle_ends));
    }
}

#[test]
fn a_pod_of_another_session_or_of_another_name_is_not_its_desktop() {
    for spoil in [
        |pod: &mut Value| pod["metadata"]["name"] = json!("vdi-bob-desktop"),
        |pod: &mut Value| pod["metadata"]["ownerReferences"][0]["uid"] = json!("3"),
        |pod: &mut Value| pod["metadata"]["ownerReferences"][0]["kind"] = json!("VDIPool"),
        |pod: &mut Value| pod["metadata"]["ownerReferences"][0]["apiVersion"] = json!("evil.io/v1"),
    ] {
        let session = Session::of(&object(|_| {}), Some(&pod(spoil)), &public(), &LoginKeys::default()).unwrap();
        assert_eq!(session.desktop, None);
    }
}

#[test]
fn a_pod_that_is_deleted_or_leads_elsewhere_is_no_desktop() {
    for spoil in [
        |pod: &mut Value| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T20:00:00Z"),
        |pod: &mut Value| pod["spec"]["hostNetwork"] = json!(true),
        |pod: &mut Value| pod["metadata"]["annotations"]["vdi.kasm.io/port"] = json!("65536"),
        |pod: &mut Value| pod["metadata"]["annotations"]["vdi.kasm.io/protocol"] = json!("gopher"),
        |pod: &mut Value| pod["status"]["podIP"] = json!("metadata.google.internal"),
        |pod: &mut Value| pod["status"]["podIP"] = json!("127.0.0.1"),
        |pod: &mut Value| pod["status"]["podIP"] = json!("169.254.169.254"),
        |pod: &mut Value| pod["status"]["podIP"] = json!("0.0.0.0"),
        |pod: &mut Value| pod["status"]["podIP"] = json!("::1"),
        |pod: &mut Value| pod["status"]["podIP"] = json!("::ffff:169.254.169.254"),
        |pod: &mut Value| pod["status"]["podIP"] = json!("fe80::1"),
        |pod: &mut Value| pod["status"]["podIP"] = json!("ff02::1"),
    ] {
        assert_eq!(pod(spoil).desktop, None);
    }
    assert!(pod(|pod| pod["status"]["podIP"] = json!("fd00::1")).desktop.is_some());
}

#[test]
fn a_pod_that_requests_may_not_be_sent_to_says_why_while_it_has_an_address() {
    let reach = Reach { pod_cidr: vec!["10.244.0.0/16".parse().unwrap()] };
    let within = |changes: fn(&mut Value)| {
        let DesktopPod { desktop, obstacle, .. } = pod_within(&reach, changes);
        assert_eq!(desktop, None);
        obstacle
    };
    let outside = Some(Obstacle::Address("10.1.2.3".parse().unwrap()));
    assert_eq!(within(|_| {}), outside);
    assert_eq!(within(|pod| pod["status"]["conditions"] = json!([])), outside);
    assert_eq!(within(|pod| pod["status"]["podIP"] = Value::Null), None);
    assert_eq!(within(|pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T20:00:00Z")), None);
    let newer = within(|pod| pod["metadata"]["annotations"]["vdi.kasm.io/protocol"] = json!("gopher"));
    assert_eq!(newer, Some(Obstacle::Protocol("gopher".to_owned())));
    let inside = pod_within(&reach, |pod| pod["status"]["podIP"] = json!("10.244.2.3"));
    assert!(inside.desktop.is_some() && inside.obstacle.is_none());
    let loopback = pod(|pod| pod["status"]["podIP"] = json!("::1"));
    assert_eq!(loopback.obstacle, Some(Obstacle::Address("::1".parse().unwrap())));
}

#[test]
fn a_pod_that_is_not_ready_is_not_opened_and_keeps_its_connections() {
    let not_ready = pod(|pod| pod["status"]["conditions"][0]["status"] = json!("False"));
    let session = Session::of(&object(|_| {}), Some(&not_ready), &public(), &LoginKeys::default()).unwrap();
    assert!(session.running().is_none() && session.keeps_connections());
    let suspended = Session { phase: Phase::Pending, ..session };
    assert!(!suspended.keeps_connections());
}

#[test]
fn more_time_is_offered_shortly_before_the_end_and_only_where_it_helps() {
    let timeout = "8h".parse().ok();
    let ending = |minutes| Session { ends: Some(noon() + SignedDuration::from_mins(minutes)), timeout, ..session() };
    assert_eq!(ending(15).extendable(noon()), timeout);
    assert_eq!(ending(16).extendable(noon()), None, "there is time enough");
    assert_eq!(ending(0).extendable(noon()), None, "it is over");
    assert_eq!(ending(-5).extendable(noon()), None);
    assert_eq!(Session { timeout: None, ..ending(5) }.extendable(noon()), None, "it is its template's longest");
    assert_eq!(Session { desktop: None, ..ending(5) }.extendable(noon()), None);
}
