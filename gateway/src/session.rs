//! A session, as far as it matters at the door: read off the objects that the controller keeps, once for each change of them.

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use vdi_api::{
    Activity, Email, Expiry, Phase, Protocol, Timeout, VDISession,
    desktop_pod::{ACTIVITY, IDLE_TIMEOUT, PATH, PORT, PROTOCOL, pod_name},
};
use vdi_service::{LoginKeys, Reach};

use crate::{login::Login, site::PublicUrl};

#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub host: String,
    pub owner: Email,
    pub template: String,
    pub phase: Phase,
    /// What its owner is told about that.
    pub told: Told,
    /// When time alone ends it, once that is known.
    pub ends: Option<Timestamp>,
    /// `spec.timeout`, where that is what ends it: raising it puts the end off.
    pub timeout: Option<Timeout>,
    /// Without input for so long, it ends too.
    pub idle_timeout: Option<Timeout>,
    /// What counts as input.
    pub activity: Activity,
    /// When that comes, once it is near: by the controller, which knows of the input through all gateways.
    pub idle_ends: Option<Timestamp>,
    /// Where its desktop is, once it has a pod with an address, until that is deleted.
    pub desktop: Option<Desktop>,
}

/// The condition `Ready`, and the place in the queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub reason: String,
    pub message: String,
    pub ahead: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Desktop {
    pub address: SocketAddr,
    /// Whether it answers, as its node sees it.
    pub is_ready: bool,
    /// Whether it speaks TLS, with a certificate of its own.
    pub tls: bool,
    /// What it asks for, as the header `Authorization` says it; `None` where it asks for nothing, or nobody here knows it.
    pub authorization: Option<HeaderValue>,
    /// Where its page is; the gateway's own page at `/` shows that one.
    pub path: String,
}

impl Session {
    /// The desktop, when it can be opened.
    pub fn running(&self) -> Option<&Desktop> {
        self.desktop.as_ref().filter(|desktop| self.phase == Phase::Running && desktop.is_ready)
    }

    /// Whether what is open to the desktop may stay open, as far as the session goes. A pod whose node hasn't been heard of for a
    /// while counts as not ready, and yet it may be doing well.
    pub fn stays(&self) -> bool {
        self.desktop.is_some() && matches!(self.phase, Phase::Running | Phase::Creating)
    }

    /// `None` while it has no host of ours, and where its user is none.
    pub fn of(
        session: &VDISession,
        pod: Option<&DesktopPod>,
        public: &PublicUrl,
        login_keys: &LoginKeys,
    ) -> Option<Self> {
        let status = session.status.as_ref()?;
        let ready = status.ready();
        let uid = session.uid()?;
        let pod = pod.filter(|pod| pod.name == pod_name(&session.name_any()) && pod.owners.contains(&uid));
        // A session that is being deleted lets nobody in any more, whatever its status still says.
        let phase = if session.metadata.deletion_timestamp.is_some() { Phase::Terminating } else { status.phase };
        Some(Self {
            namespace: session.namespace()?,
            name: session.name_any(),
            host: public.host_of(status.url.as_deref()?)?.to_owned(),
            owner: session.spec.user.parse().ok()?,
            template: session.spec.template.clone(),
            phase,
            told: Told {
                reason: ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
                message: ready.map(|ready| ready.message.clone()).unwrap_or_default(),
                ahead: status.queue.as_ref().map(|queue| queue.ahead),
            },
            ends: status.expires_at.as_ref().filter(|_| is_the_sessions_end(status.expiry)).map(|time| time.0),
            timeout: session.spec.timeout.parse().ok().filter(|_| status.expiry == Some(Expiry::Timeout)),
            idle_timeout: pod.and_then(|pod| pod.idle_timeout),
            activity: pod.map(|pod| pod.activity).unwrap_or_default(),
            idle_ends: status.expires_at.as_ref().filter(|_| status.expiry == Some(Expiry::Idle)).map(|time| time.0),
            desktop: pod.and_then(|pod| pod.desktop_of(&uid, login_keys)),
            uid,
        })
    }
}

/// Not the end of its start, which it hardly ever comes to, nor of idleness, which anybody can end.
fn is_the_sessions_end(expiry: Option<Expiry>) -> bool {
    matches!(expiry, Some(Expiry::Timeout | Expiry::MaxTimeout))
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct DesktopPod {
    pub namespace: String,
    pub name: String,
    /// The uids of the sessions that own it: one, unless somebody has meddled with it.
    pub owners: Vec<String>,
    pub idle_timeout: Option<Timeout>,
    pub activity: Activity,
    pub login: Option<Login>,
    /// `None` while it has no address, once it is deleted, and where it is nothing that a request may be sent to.
    pub desktop: Option<Desktop>,
}

impl DesktopPod {
    pub fn of(pod: &Pod, reach: &Reach) -> Self {
        let is_of_a_session = |owner: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
            owner.kind == "VDISession" && owner.api_version.split('/').next() == Some(vdi_api::GROUP)
        };
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            owners: pod.owner_references().iter().filter(is_of_a_session).map(|owner| owner.uid.clone()).collect(),
            login: Login::of(pod.annotations()),
            idle_timeout: pod.annotations().get(IDLE_TIMEOUT).and_then(|text| text.parse().ok()),
            activity: pod.annotations().get(ACTIVITY).and_then(|name| Activity::named(name)).unwrap_or_default(),
            desktop: desktop(pod, reach),
        }
    }

    fn desktop_of(&self, session_uid: &str, keys: &LoginKeys) -> Option<Desktop> {
        let authorization = self.login.as_ref().and_then(|login| login.authorization(session_uid, keys));
        Some(Desktop { authorization, ..self.desktop.clone()? })
    }
}

fn desktop(pod: &Pod, reach: &Reach) -> Option<Desktop> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let mut conditions = status.conditions.iter().flatten();
    let is_ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    // Its address would be the node's, where other things listen.
    if pod.metadata.deletion_timestamp.is_some() || spec.host_network == Some(true) {
        return None;
    }
    let ip: IpAddr = status.pod_ip.as_ref()?.parse().ok()?;
    let port = pod.annotations().get(PORT)?.parse().ok()?;
    let protocol = Protocol::named(pod.annotations().get(PROTOCOL)?)?;
    let address = SocketAddr::new(ip, port);
    let path = pod.annotations().get(PATH).filter(|path| path.starts_with('/')).map_or("/", |path| path);
    let tls = protocol == Protocol::Https;
    reach.includes(ip).then(|| Desktop { address, is_ready, tls, authorization: None, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

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
        DesktopPod::of(&serde_json::from_value(pod).unwrap(), &Reach::default())
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
        assert_eq!((&*session.told.reason, session.told.ahead), ("Running", Some(2)));
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
    fn the_end_of_its_start_is_not_the_end_of_a_session() {
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
    fn a_pod_that_is_not_ready_is_not_opened_and_what_is_open_to_it_stays() {
        let not_ready = pod(|pod| pod["status"]["conditions"][0]["status"] = json!("False"));
        let session = Session::of(&object(|_| {}), Some(&not_ready), &public(), &LoginKeys::default()).unwrap();
        assert!(session.running().is_none() && session.stays());
        let suspended = Session { phase: Phase::Pending, ..session };
        assert!(!suspended.stays());
    }
}
