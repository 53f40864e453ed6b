use serde_json::{Value, json};

use super::*;
use crate::fixture;

const NODE: Option<&str> = Some("gpu-1");

fn state(node: Option<&str>, status: Value) -> PodState {
    of(false, node.is_some(), status)
}

fn deleted(status: Value) -> PodState {
    of(true, true, status)
}

fn of(is_deleted: bool, has_node: bool, status: Value) -> PodState {
    let pinned = PinnedTemplate { log_in_status: true, ..fixture::template().pinned };
    PodState::of(is_deleted, has_node, &serde_json::from_value(status).unwrap(), Some(&pinned))
}

fn desktop(restarts: i32, state: Value, last_state: Value) -> Value {
    json!({ "containerStatuses": [{
        "name": "desktop", "image": "desktop:1", "imageID": "", "ready": false, "restartCount": restarts,
        "state": state, "lastState": last_state,
    }]})
}

fn trouble(restarts: i32, now: Value, before: Value) -> Option<Trouble> {
    match state(NODE, desktop(restarts, now, before)) {
        PodState::Starting(trouble) => trouble,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pod_without_a_node_says_what_it_waits_for() {
    let condition = |reason: &str| json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": reason, "message": "words" }] });
    for (status, expected) in [
        (json!({}), Wait::Scheduler),
        (condition("SchedulerError"), Wait::Scheduler),
        (condition("Unschedulable"), Wait::Node("words".to_owned())),
        (condition("SchedulingGated"), Wait::Gates("words".to_owned())),
    ] {
        assert_eq!(state(None, status), PodState::Unscheduled(expected));
    }
}

#[test]
fn all_of_the_kubelets_reasons_for_an_image_that_fails_are_one_trouble() {
    for reason in ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"] {
        let waiting = json!({ "waiting": { "reason": reason, "message": "no such image" } });
        assert_eq!(trouble(0, waiting, json!({})), Some(Trouble::Image("no such image".to_owned())));
    }
    let silent = json!({ "waiting": { "reason": "ErrImageNeverPull" } });
    assert_eq!(trouble(0, silent, json!({})), Some(Trouble::Image("image \"desktop:1\"".to_owned())));
    let secret = json!({ "waiting": { "reason": "CreateContainerConfigError", "message": "secret \"x\" not found" } });
    assert_eq!(trouble(0, secret, json!({})), Some(Trouble::Container("secret \"x\" not found".to_owned())));
    assert_eq!(trouble(0, json!({ "waiting": { "reason": "ContainerCreating" } }), json!({})), None);
}

#[test]
fn a_crash_is_counted_once_through_all_states_that_the_kubelet_shows_of_it() {
    let end = json!({ "terminated": { "exitCode": 134, "reason": "Error", "message": "no screens\n" } });
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    let running = json!({ "running": { "startedAt": "2026-01-01T12:00:00Z" } });
    let crash = |crashes| {
        let words = "exit code 134 (Error): no screens".to_owned();
        Some(Trouble::Crash { crashes, out_of_memory: false, words })
    };
    assert_eq!(trouble(0, running.clone(), json!({})), None);
    assert_eq!(trouble(0, end.clone(), json!({})), crash(1));
    assert_eq!(trouble(0, waiting.clone(), end.clone()), crash(1));
    assert_eq!(trouble(1, running, end.clone()), crash(1));
    assert_eq!(trouble(1, waiting, end), crash(2));
}

#[test]
fn running_out_of_memory_differs_from_other_crashes() {
    let end = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
    let words = "exit code 137 (OOMKilled)".to_owned();
    assert_eq!(trouble(0, end, json!({})), Some(Trouble::Crash { crashes: 1, out_of_memory: true, words }));
}

#[test]
fn the_last_twenty_lines_of_a_long_log_are_shown() {
    let log: Vec<String> = (1..=50).map(|n| format!("line {n}")).collect();
    let end = json!({ "terminated": { "exitCode": 1, "reason": "Error", "message": log.join("\n") } });
    let Some(Trouble::Crash { words, .. }) = trouble(0, end, json!({})) else { panic!() };
    assert!(words.contains("(Error):\nline 31\nline 32\n") && words.ends_with("\nline 50"), "{words}");
}

#[test]
fn a_desktops_log_is_not_shown_unless_its_template_says_so() {
    let end = json!({ "terminated": { "exitCode": 1, "reason": "Error", "message": "password: hunter2" } });
    let mut status = desktop(0, end, json!({}));
    for phase in ["Running", "Failed"] {
        status["phase"] = json!(phase);
        let status = serde_json::from_value(status.clone()).unwrap();
        for pinned in [None, Some(&fixture::template().pinned)] {
            let state = format!("{:?}", PodState::of(false, true, &status, pinned));
            assert!(state.contains("exit code 1 (Error)") && !state.contains("hunter2"), "{state}");
        }
    }
}

#[test]
fn a_ready_pod_has_its_address() {
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    let expected = PodState::Ready { ip: Some("10.0.0.7".to_owned()) };
    assert_eq!(state(NODE, json!({ "conditions": ready, "podIP": "10.0.0.7" })), expected);
}

#[test]
fn a_pod_that_ended_says_whether_it_was_the_desktop_or_its_node() {
    let mut logged_out = desktop(0, json!({ "terminated": { "exitCode": 0, "reason": "Completed" } }), json!({}));
    logged_out["phase"] = json!("Succeeded");
    let expected = End::Desktop("the desktop ended with exit code 0 (Completed)".to_owned());
    assert_eq!(state(NODE, logged_out), PodState::Ended(expected));
    let evicted =
        json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. " });
    let expected = End::Node("Evicted: The node was low on resource: memory.".to_owned());
    assert_eq!(state(NODE, evicted), PodState::Ended(expected));
}

#[test]
fn a_pod_that_was_deleted_says_by_whom() {
    for (disruption, reason) in [
        (Some("PreemptionByScheduler"), Reason::Preempted),
        (Some("EvictionByEvictionAPI"), Reason::Evicted),
        (Some("DeletionByTaintManager"), Reason::NodeLost),
        (None, Reason::PodDeleted),
    ] {
        let conditions: Vec<_> = disruption
            .iter()
            .map(|reason| json!({ "type": "DisruptionTarget", "status": "True", "reason": reason }))
            .collect();
        assert_eq!(deleted(json!({ "conditions": conditions })), PodState::Leaving(reason));
    }
}

#[test]
fn a_pod_that_is_ended_by_whoever_deletes_it_did_not_end_by_itself() {
    let taken = json!([{ "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC" }]);
    let collected = json!({ "phase": "Failed", "conditions": taken });
    assert_eq!(state(NODE, collected.clone()), PodState::Ended(End::Taken(Reason::NodeLost)));
    assert_eq!(deleted(collected), PodState::Leaving(Reason::NodeLost));
    assert_eq!(deleted(json!({ "phase": "Succeeded" })), PodState::Leaving(Reason::PodDeleted));
}
