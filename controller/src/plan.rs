//! Step two: what to do. Pure: no client, no clock, no randomness.
//!
//! The plan follows from what is observed, not from what was done before, with one exception: Failed is final.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use vdi_api::{Phase, VDISessionStatus};

use crate::{
    observe::Observed,
    pod_state::PodState,
    reason::Reason,
    resources::{pod, pod_name, pod_name_taken},
};

/// Sessions and templates come through different watches, so a new session can be seen before the template that its user
/// made first.
const TEMPLATE_GRACE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub action: Option<Action>,
    /// What the status should be. Where it is so already, nothing is written.
    pub status: VDISessionStatus,
    /// When time alone will change the plan.
    pub wake: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    CreatePod(Box<Pod>),
    DeletePod,
    DeleteSession,
}

/// What to do about a session. `now` is in whole seconds, as Kubernetes keeps times.
pub fn plan(seen: &Observed, now: Timestamp) -> Plan {
    if seen.deleting {
        return deleting(seen, now);
    }
    if seen.status.phase == Phase::Failed {
        return failed(seen, now);
    }
    if let Some(deadline) = seen.session_deadline().filter(|deadline| now >= *deadline) {
        return expired(seen, deadline, now);
    }
    if seen.spec.as_ref().is_ok_and(|spec| spec.suspend) {
        return suspend(seen, now);
    }
    match &seen.pod {
        PodState::Absent if seen.status.pod_name.is_some() => {
            fail(seen, Reason::PodLost, "the desktop's pod is gone: it was deleted, or its node was".to_owned(), now)
        }
        PodState::Absent => create(seen, now),
        PodState::Foreign => Plan::publish(pending(seen, Reason::PodNameTaken, pod_name_taken(&seen.name), now)),
        PodState::Unscheduled { why: None } => Plan::publish(waiting(seen, now)),
        PodState::Unscheduled { why: Some(why) } => {
            let status = pending(seen, Reason::Unschedulable, why.clone(), now);
            Plan::publish(VDISessionStatus { pod_name: Some(pod_name(&seen.name)), ..status })
        }
        PodState::Starting { .. } if seen.status.start_time.is_some() => {
            let message = "the desktop does not answer; its pod is still there".to_owned();
            let status = status(seen, Phase::Creating, Reason::NotResponding, message, now);
            Plan { wake: seen.session_deadline(), ..Plan::publish(status) }
        }
        PodState::Starting { scheduled, image_error } => starting(seen, *scheduled, image_error.as_deref(), now),
        PodState::Ready { since, .. } => running(seen, *since, now),
        PodState::Ended { why } => fail(seen, Reason::DesktopEnded, why.clone(), now),
        // Its absence will be the next event.
        PodState::Leaving => Plan::publish(seen.status.clone()),
    }
}

/// Kubernetes deletes the pod, through its owner reference.
fn deleting(seen: &Observed, now: Timestamp) -> Plan {
    match seen.status.phase {
        Phase::Terminating => Plan::publish(seen.status.clone()),
        _ => {
            Plan::publish(status(seen, Phase::Terminating, Reason::Deleted, "the session was deleted".to_owned(), now))
        }
    }
}

/// The user sees why before the session goes: the status first, and once that is seen, the deletion.
fn expired(seen: &Observed, deadline: Timestamp, now: Timestamp) -> Plan {
    let message = format!("the session's time was up at {deadline}");
    let status = status(seen, Phase::Terminating, Reason::Expired, message, now);
    let is_published = seen.status.phase == Phase::Terminating;
    Plan { action: is_published.then_some(Action::DeleteSession), ..Plan::publish(status) }
}

fn suspend(seen: &Observed, now: Timestamp) -> Plan {
    match seen.pod {
        PodState::Absent | PodState::Foreign => {
            let message = "suspended: it holds no GPU; set spec.suspend to false to go on".to_owned();
            let status = pending(seen, Reason::Suspended, message, now);
            Plan::publish(VDISessionStatus { pod_name: None, start_time: None, expires_at: None, ..status })
        }
        PodState::Leaving => Plan::publish(seen.status.clone()),
        _ => Plan { action: Some(Action::DeletePod), ..Plan::publish(seen.status.clone()) },
    }
}

fn create(seen: &Observed, now: Timestamp) -> Plan {
    let blocked = |reason, message| Plan::publish(pending(seen, reason, message, now));
    match (&seen.spec, &seen.template) {
        (Err(invalid), _) => blocked(Reason::SessionInvalid, invalid.to_string()),
        // It may only be on its way here.
        (Ok(_), None) if now < after(seen.created, TEMPLATE_GRACE) => {
            Plan { wake: Some(after(seen.created, TEMPLATE_GRACE)), ..Plan::publish(seen.status.clone()) }
        }
        (Ok(spec), None) => blocked(Reason::TemplateNotFound, format!("no VDITemplate is named {:?}", spec.template)),
        (Ok(spec), Some(Err(invalid))) => {
            blocked(Reason::TemplateInvalid, format!("VDITemplate {:?}: {invalid}", spec.template))
        }
        (Ok(spec), Some(Ok(template))) => {
            let pod = Box::new(pod(seen, spec, template));
            Plan { action: Some(Action::CreatePod(pod)), ..Plan::publish(waiting(seen, now)) }
        }
    }
}

fn starting(seen: &Observed, scheduled: Option<Timestamp>, image_error: Option<&str>, now: Timestamp) -> Plan {
    let deadline = match &seen.status {
        // What was promised holds, also when the template has changed or gone since.
        VDISessionStatus { phase: Phase::Creating, expires_at: Some(deadline), .. } => deadline.0,
        _ => after(scheduled.unwrap_or(now), seen.start_deadline()),
    };
    let (reason, message) = match image_error {
        Some(_) if is_already(seen, Reason::ImagePullFailed) => (Reason::ImagePullFailed, seen.message()),
        Some(error) => (Reason::ImagePullFailed, format!("the desktop's image can't be pulled: {error}")),
        None => (Reason::Starting, "the desktop is starting".to_owned()),
    };
    if now >= deadline {
        return fail(seen, Reason::StartDeadlineExceeded, format!("not up by {deadline}: {message}"), now);
    }
    let status = VDISessionStatus {
        pod_name: Some(pod_name(&seen.name)),
        expires_at: Some(Time(deadline)),
        ..status(seen, Phase::Creating, reason, message, now)
    };
    Plan { wake: Some(deadline), ..Plan::publish(status) }
}

fn running(seen: &Observed, since: Option<Timestamp>, now: Timestamp) -> Plan {
    let start = seen.status.start_time.clone().unwrap_or(Time(since.unwrap_or(now)));
    let started = Observed {
        status: VDISessionStatus {
            start_time: Some(start),
            pod_name: Some(pod_name(&seen.name)),
            ..seen.status.clone()
        },
        ..seen.clone()
    };
    let deadline = started.session_deadline();
    let status = status(&started, Phase::Running, Reason::Running, "the desktop is up".to_owned(), now);
    Plan { wake: deadline, ..Plan::publish(VDISessionStatus { expires_at: deadline.map(Time), ..status }) }
}

/// The end of a session that can't run. Its pod goes in the next pass, so that a crash in between can't lose the reason.
fn fail(seen: &Observed, reason: Reason, message: String, now: Timestamp) -> Plan {
    let removal = after(now, seen.failed_retention());
    let status = status(seen, Phase::Failed, reason, message, now);
    Plan::publish(VDISessionStatus { expires_at: Some(Time(removal)), ..status })
}

/// A failed session holds no GPU, stays for its user to see, and is then removed.
fn failed(seen: &Observed, now: Timestamp) -> Plan {
    let removal = seen.status.expires_at.as_ref().map_or_else(|| after(now, seen.failed_retention()), |time| time.0);
    let action = match seen.pod {
        _ if now >= removal => Some(Action::DeleteSession),
        PodState::Unscheduled { .. } | PodState::Starting { .. } | PodState::Ready { .. } => Some(Action::DeletePod),
        PodState::Absent | PodState::Foreign | PodState::Ended { .. } | PodState::Leaving => None,
    };
    Plan {
        action,
        status: VDISessionStatus { expires_at: Some(Time(removal)), ..seen.status.clone() },
        wake: Some(removal),
    }
}

/// Nothing is wrong and nothing has happened yet: that costs no write, since Pending is the default.
fn waiting(seen: &Observed, now: Timestamp) -> VDISessionStatus {
    match seen.status.ready() {
        None => seen.status.clone(),
        Some(_) => pending(seen, Reason::Scheduling, "waiting for a node with a free GPU".to_owned(), now),
    }
}

/// The status of a session that has no pod, or one without a node, and why.
pub fn pending(seen: &Observed, reason: Reason, message: String, now: Timestamp) -> VDISessionStatus {
    status(seen, Phase::Pending, reason, message, now)
}

fn status(seen: &Observed, phase: Phase, reason: Reason, message: String, now: Timestamp) -> VDISessionStatus {
    let condition_status = if phase == Phase::Running { "True" } else { "False" };
    let same = seen.status.ready().filter(|condition| condition.status == condition_status);
    let ready = Condition {
        type_: "Ready".to_owned(),
        status: condition_status.to_owned(),
        reason: reason.to_string(),
        message,
        last_transition_time: same.map_or(Time(now), |condition| condition.last_transition_time.clone()),
        observed_generation: seen.generation,
    };
    let others = seen.status.conditions.iter().filter(|condition| condition.type_ != "Ready").cloned();
    VDISessionStatus {
        phase,
        url: seen.url.clone(),
        conditions: others.chain([ready]).collect(),
        observed_generation: seen.generation,
        ..seen.status.clone()
    }
}

fn is_already(seen: &Observed, reason: Reason) -> bool {
    seen.status.ready().is_some_and(|condition| condition.reason == reason.to_string())
}

fn after(start: Timestamp, length: Duration) -> Timestamp {
    start.checked_add(length).unwrap_or(Timestamp::MAX)
}

impl Plan {
    fn publish(status: VDISessionStatus) -> Self {
        Self { action: None, status, wake: None }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
