//! What has to hold once everything has settled, whatever happened before. All that the faults know about the controller is here.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use vdi_api::{Phase, VDISession, VDITemplate};

/// Reasons that are temporary for a session without a pod: it had one, or is about to get one.
const WITH_POD: [&str; 14] = [
    "Scheduling",
    "Unschedulable",
    "Preempted",
    "Evicted",
    "NodeLost",
    "PodDeleted",
    "PodLost",
    "Starting",
    "ImagePullFailed",
    "ContainerFailed",
    "DesktopCrashed",
    "OutOfMemory",
    "NotResponding",
    "Running",
];
/// How late the controller may be: it counts in whole seconds.
const LATE: SignedDuration = SignedDuration::from_secs(3);
/// A deadline within this time is waited for. The others are hours away.
const SOON: SignedDuration = SignedDuration::from_mins(10);

/// The objects in a namespace.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub sessions: Vec<VDISession>,
    /// The controller's pods.
    pub pods: Vec<Pod>,
    pub templates: Vec<VDITemplate>,
    pub now: Timestamp,
    /// The sessions that should last: they must exist, and not be Failed.
    pub lasting: BTreeSet<String>,
}

/// Violations, empty once everything has settled.
pub fn violations(seen: &Seen) -> Vec<String> {
    let sessions = seen.sessions.iter().filter_map(|session| {
        let why = of_session(session, &pods_of(seen, session), seen.now)?;
        Some(format!("session {}: {why}", session.name_any()))
    });
    let pods = seen.pods.iter().filter_map(|pod| {
        let why = of_pod(pod, seen)?;
        Some(format!("pod {}: {why}", pod.name_any()))
    });
    let lost = seen.lasting.iter().filter_map(|name| {
        let session = seen.sessions.iter().find(|session| session.name_any() == *name);
        match session.map(phase) {
            None => Some(format!("session {name}: it is gone, and nobody ended it")),
            Some(Phase::Failed) => Some(format!("session {name}: it is Failed, and nobody did it harm")),
            Some(_) => None,
        }
    });
    sessions.chain(pods).chain(lost).chain(miscounted(&seen.templates, &seen.sessions)).collect()
}

/// Templates report their number of sessions with a delay of seconds.
pub fn miscounted(templates: &[VDITemplate], sessions: &[VDISession]) -> Vec<String> {
    let wrong = templates.iter().filter_map(|template| {
        let count = sessions.iter().filter(|session| session.spec.template == template.name_any()).count();
        let told = template.status.as_ref().map_or(0, |status| status.sessions);
        (told != count as i64)
            .then(|| format!("template {}: {count} sessions, and it says {told}", template.name_any()))
    });
    wrong.collect()
}

fn of_session(session: &VDISession, pods: &[&Pod], now: Timestamp) -> Option<String> {
    let status = session.status.clone().unwrap_or_default();
    let reason = status.ready().map(|ready| ready.reason.clone()).unwrap_or_default();
    let holding: Vec<String> = pods.iter().filter(|pod| holds_gpu(pod)).map(|pod| pod.name_any()).collect();
    if pods.len() > 1 {
        return Some(format!("it has {} pods", pods.len()));
    }
    if session.metadata.deletion_timestamp.is_some() || status.phase == Phase::Terminating {
        return Some("it is still going".to_owned());
    }
    match status.expires_at.as_ref().map(|time| time.0.duration_since(now)) {
        Some(left) if left < -LATE => return Some(format!("its deadline was {:#} ago", -left)),
        Some(left) if left < SOON => return Some(format!("its deadline is in {left:#}")),
        _ => {}
    }
    if status.phase == Phase::Failed {
        return (!holding.is_empty()).then(|| format!("it is Failed, and {holding:?} holds a GPU"));
    }
    if session.spec.suspend {
        let is_shown = status.phase == Phase::Pending && reason == "Suspended";
        return match pods {
            [] if is_shown => None,
            [] => Some(format!("it is suspended, and shown as {:?} {reason}", status.phase)),
            _ => Some("it is suspended, and has a pod".to_owned()),
        };
    }
    match pods {
        [pod] if is_ready(pod) && status.phase != Phase::Running => {
            Some(format!("its pod is ready, and it is {:?} {reason}", status.phase))
        }
        [pod] if !is_ready(pod) && status.phase == Phase::Running => {
            Some("it is Running, and its pod is not ready".to_owned())
        }
        [] if WITH_POD.contains(&&*reason) => Some(format!("it has no pod, and is {:?} {reason}", status.phase)),
        _ if reason.is_empty() => Some(format!("it is {:?} and does not say why", status.phase)),
        _ => None,
    }
}

fn of_pod(pod: &Pod, seen: &Seen) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("it is still going".to_owned());
    }
    let owners = pod.owner_references();
    let is_owned = seen
        .sessions
        .iter()
        .any(|session| owners.iter().any(|owner| Some(&owner.uid) == session.metadata.uid.as_ref()));
    (!is_owned).then(|| "it belongs to no session that there is".to_owned())
}

fn pods_of<'a>(seen: &'a Seen, session: &VDISession) -> Vec<&'a Pod> {
    let is_its =
        |pod: &&Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == session.metadata.uid.as_ref());
    seen.pods.iter().filter(is_its).collect()
}

pub fn phase(session: &VDISession) -> Phase {
    session.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// A pod holds its GPU from its scheduling until its container has ended.
fn holds_gpu(pod: &Pod) -> bool {
    let has_ended =
        pod.status.as_ref().is_some_and(|status| matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")));
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) && !has_ended
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    holds_gpu(pod) && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::objects::session;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn a_session(phase: Phase, reason: &str) -> VDISession {
        let mut session = session("a", "template");
        session.metadata.uid = Some("1".to_owned());
        let ready = json!({
            "type": "Ready", "status": "False", "reason": reason, "message": "", "lastTransitionTime": now(),
        });
        session.status = Some(serde_json::from_value(json!({ "phase": phase, "conditions": [ready] })).unwrap());
        session
    }

    fn a_pod(owner: &str, status: Value) -> Pod {
        let owner = json!({ "apiVersion": "vdi.kasm.io/v1alpha1", "kind": "VDISession", "name": "a", "uid": owner });
        let pod = json!({
            "metadata": { "name": "vdi-a", "ownerReferences": [owner] },
            "spec": { "nodeName": "node", "containers": [] },
            "status": status,
        });
        serde_json::from_value(pod).unwrap()
    }

    fn ready() -> Value {
        json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] })
    }

    fn wrong(session: VDISession, pods: &[Pod]) -> String {
        let lasting = ["a".to_owned()].into();
        let seen = Seen { sessions: vec![session], pods: pods.to_vec(), now: now(), lasting, ..Seen::default() };
        violations(&seen).join("; ")
    }

    #[test]
    fn a_session_with_a_ready_pod_is_as_it_should_be() {
        assert_eq!(wrong(a_session(Phase::Running, "Running"), &[a_pod("1", ready())]), "");
    }

    #[test]
    fn what_must_not_be_is_found() {
        let running = || a_session(Phase::Running, "Running");
        let mut suspended = a_session(Phase::Pending, "Suspended");
        suspended.spec.suspend = true;
        let mut late = running();
        late.status.as_mut().unwrap().expires_at = Some(serde_json::from_value(json!("2026-01-01T11:59:00Z")).unwrap());
        let pod = || a_pod("1", ready());
        for (session, pods, what) in [
            (running(), vec![], "it has no pod, and is Running"),
            (running(), vec![pod(), pod()], "it has 2 pods"),
            (running(), vec![pod(), a_pod("2", ready())], "pod vdi-a: it belongs to no session"),
            (suspended, vec![pod()], "it is suspended, and has a pod"),
            (late, vec![pod()], "its deadline was"),
            (a_session(Phase::Failed, "PodLost"), vec![pod()], "holds a GPU"),
            (a_session(Phase::Failed, "PodLost"), vec![], "nobody did it harm"),
            (a_session(Phase::Pending, ""), vec![], "does not say why"),
        ] {
            let found = wrong(session, &pods);
            assert!(found.contains(what), "{what:?} is not in {found:?}");
        }
    }
}
