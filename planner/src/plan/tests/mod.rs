//! A plan for each thing that can be seen.

mod failures;
mod running;
mod start;
mod time;
mod transitions;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use vdi_api::{Phase, Timeout};

use super::*;
use crate::{
    fixture::{self, noon},
    model::{Deletion, FieldInvalid, HomeState, Idle, Place, Renderer, Template, Trouble, Wait},
};

/// What the controller publishes and then sees again.
fn then(seen: &Observed, now: Timestamp) -> Observed {
    Observed { status: plan(seen, now).status, ..seen.clone() }
}

fn with_pod(seen: Observed, pod: PodState) -> Observed {
    Observed { pod, ..seen }
}

fn ready() -> PodState {
    PodState::Ready { ip: Some("10.0.0.7".to_owned()) }
}

fn no_node(words: &str) -> PodState {
    PodState::Unscheduled(Wait::Node(words.to_owned()))
}

fn crashed(crashes: i32) -> PodState {
    PodState::Starting(Some(Trouble::Crash { crashes, out_of_memory: false, words: "exit code 1".to_owned() }))
}

fn starting() -> Observed {
    with_pod(fixture::observed(), PodState::Starting(None))
}

/// Deleted at noon, with nothing that keeps Kubernetes from deleting its pod, or with somebody's finalizer.
fn deleted(is_kubernetes_own: bool) -> Option<Deletion> {
    Some(Deletion { since: noon(), is_kubernetes_own })
}

/// A session whose desktop has been up since noon.
fn running() -> Observed {
    then(&with_pod(fixture::observed(), ready()), noon())
}

fn with_template(mut seen: Observed, change: impl FnOnce(&mut Template)) -> Observed {
    let mut template = fixture::template();
    change(&mut template);
    seen.pinned = Some(template.pinned.clone());
    Observed { template: Some(Ok(template)), ..seen }
}

fn length(text: &str) -> Timeout {
    text.parse().unwrap()
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn has(plan: &Plan, wanted: fn(&Action) -> bool) -> bool {
    plan.actions.iter().any(wanted)
}

fn deletes_pod(plan: &Plan) -> bool {
    has(plan, |action| matches!(action, Action::DeletePod))
}

fn deletes_session(plan: &Plan) -> bool {
    has(plan, |action| matches!(action, Action::DeleteSession))
}

fn message(plan: &Plan) -> &str {
    plan.status.ready().map_or("", |ready| &ready.message)
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn creates_pod(plan: &Plan) -> bool {
    has(plan, |action| matches!(action, Action::CreatePod(_)))
}

fn suspended(mut seen: Observed) -> Observed {
    if let Ok(spec) = &mut seen.spec {
        spec.suspend = true;
    }
    seen
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// Phase, and the reason of the condition `Ready`.
fn said(plan: &Plan) -> (Phase, &str) {
    (plan.status.phase, plan.status.ready().map_or("", |ready| &ready.reason))
}

impl Observed {
    /// What the user was last told.
    fn message(&self) -> &str {
        self.status.ready().map_or("", |ready| &ready.message)
    }
}
