//! What a pod is doing, read off its status once, so that planning is a plain match.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

/// The pod that a session's name leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum PodState {
    Absent,
    /// A pod of that name exists, but it isn't this session's: an earlier session's, or somebody's own.
    Foreign,
    /// It has no node. The scheduler's words, once it has said that there is none.
    Unscheduled {
        why: Option<String>,
    },
    /// It has a node and isn't ready.
    Starting {
        scheduled: Option<Timestamp>,
        image_error: Option<String>,
    },
    /// The desktop answers.
    Ready {
        since: Option<Timestamp>,
        ip: Option<String>,
    },
    /// Its container has ended; it holds no GPU any more.
    Ended {
        why: String,
    },
    /// It has been deleted and is shutting down.
    Leaving,
}

impl PodState {
    pub fn of(pod: &Pod, session_uid: &str) -> Self {
        let owners = pod.metadata.owner_references.iter().flatten();
        if !owners.into_iter().any(|owner| owner.uid == session_uid) {
            return Self::Foreign;
        }
        let status = pod.status.clone().unwrap_or_default();
        if let Some("Failed" | "Succeeded") = status.phase.as_deref() {
            return Self::Ended { why: end_of(&status) };
        }
        if pod.metadata.deletion_timestamp.is_some() {
            return Self::Leaving;
        }
        let condition = |type_: &str| status.conditions.iter().flatten().find(|c| c.type_ == type_).cloned();
        let since = |c: &k8s_openapi::api::core::v1::PodCondition| c.last_transition_time.as_ref().map(|time| time.0);
        if pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()) {
            let refusal = condition("PodScheduled").filter(|c| c.reason.as_deref() == Some("Unschedulable"));
            return Self::Unscheduled { why: refusal.map(|c| c.message.unwrap_or_default()) };
        }
        match condition("Ready") {
            Some(ready) if ready.status == "True" => Self::Ready { since: since(&ready), ip: status.pod_ip },
            _ => Self::Starting {
                scheduled: condition("PodScheduled").as_ref().and_then(since),
                image_error: containers(&status).find_map(image_error),
            },
        }
    }
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.container_statuses.iter().flatten()
}

/// The kubelet goes back and forth between these reasons; for the user they are one.
fn image_error(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let pull_failed = matches!(
        waiting.reason.as_deref()?,
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "RegistryUnavailable"
    );
    pull_failed.then(|| match &waiting.message {
        Some(message) => message.clone(),
        None => format!("image {:?}", container.image),
    })
}

fn end_of(status: &PodStatus) -> String {
    let terminated = containers(status).find_map(|c| c.state.as_ref()?.terminated.as_ref());
    let what = match (status.reason.as_deref(), terminated) {
        (Some(reason), _) => format!("the pod ended: {reason}"),
        (None, Some(end)) => {
            let reason = end.reason.as_deref().unwrap_or("no reason given");
            format!("the desktop ended with exit code {} ({reason})", end.exit_code)
        }
        (None, None) => "the pod ended".to_owned(),
    };
    match status.message.as_ref().or(terminated.and_then(|end| end.message.as_ref())).map(|text| text.trim()) {
        Some(details) if !details.is_empty() => format!("{what}: {details}"),
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NODE: &str = "gpu-1";

    fn state(node: Option<&str>, status: Value) -> PodState {
        let pod = json!({
            "metadata": { "name": "vdi-a", "ownerReferences": [{ "apiVersion": "", "kind": "", "name": "a", "uid": "1" }] },
            "spec": { "containers": [], "nodeName": node },
            "status": status,
        });
        PodState::of(&serde_json::from_value(pod).unwrap(), "1")
    }

    fn desktop(state: Value) -> Value {
        json!([{ "name": "desktop", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state }])
    }

    #[test]
    fn a_pod_without_a_node_waits_and_repeats_what_the_scheduler_said() {
        assert_eq!(state(None, json!({})), PodState::Unscheduled { why: None });
        let refused =
            json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" }]);
        assert_eq!(
            state(None, json!({ "conditions": refused })),
            PodState::Unscheduled { why: Some("0/1 nodes".to_owned()) }
        );
        let gated = json!([{ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated" }]);
        assert_eq!(state(None, json!({ "conditions": gated })), PodState::Unscheduled { why: None });
    }

    #[test]
    fn both_of_the_kubelets_words_for_an_image_that_fails_are_an_image_error() {
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            let waiting = desktop(json!({ "waiting": { "reason": reason, "message": "no such image" } }));
            let expected = PodState::Starting { scheduled: None, image_error: Some("no such image".to_owned()) };
            assert_eq!(state(Some(NODE), json!({ "containerStatuses": waiting })), expected);
        }
        let creating = desktop(json!({ "waiting": { "reason": "ContainerCreating" } }));
        let expected = PodState::Starting { scheduled: None, image_error: None };
        assert_eq!(state(Some(NODE), json!({ "containerStatuses": creating })), expected);
    }

    #[test]
    fn a_ready_pod_has_its_address_and_the_time_since_when() {
        let ready = json!([{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z" }]);
        let since = Some("2026-01-01T12:00:00Z".parse().unwrap());
        let expected = PodState::Ready { since, ip: Some("10.0.0.7".to_owned()) };
        assert_eq!(state(Some(NODE), json!({ "conditions": ready, "podIP": "10.0.0.7" })), expected);
    }

    #[test]
    fn a_pod_that_ended_says_how_with_the_last_lines_of_its_log() {
        let oom =
            desktop(json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled", "message": "last line\n" } }));
        let PodState::Ended { why } = state(Some(NODE), json!({ "phase": "Failed", "containerStatuses": oom })) else {
            panic!()
        };
        assert_eq!(why, "the desktop ended with exit code 137 (OOMKilled): last line");
        let evicted =
            json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory." });
        let PodState::Ended { why } = state(Some(NODE), evicted) else { panic!() };
        assert_eq!(why, "the pod ended: Evicted: The node was low on resource: memory.");
    }

    #[test]
    fn a_pod_of_another_owner_is_foreign_whatever_its_state() {
        let pod = json!({ "metadata": { "name": "vdi-a" }, "status": { "phase": "Failed" } });
        assert_eq!(PodState::of(&serde_json::from_value(pod).unwrap(), "1"), PodState::Foreign);
    }
}
