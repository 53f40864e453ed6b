//! Decides what to do about a session. Pure: no client, no clock, no randomness.
//!
//! The plan follows from what is observed, not from what was done before, with one exception: Failed is final.

pub mod acceleration;
mod action;
mod deadline;
mod end;
mod running;
mod start;
mod status;
mod suspend;
#[cfg(test)]
mod tests;
mod warnings;

use jiff::Timestamp;
use vdi_api::Phase;

use crate::{
    model::{End, Observed, PodState, Reason},
    resources::pod_name_taken,
};

pub use action::{Action, Notice, Plan};
pub use status::status;

/// What to do about a session. `now` is in whole seconds, as Kubernetes keeps times.
pub fn plan(seen: &Observed, now: Timestamp) -> Plan {
    let mut plan = decide(seen, now);
    if !matches!(plan.status.phase, Phase::Terminating | Phase::Failed) {
        let next_look = deadline::next_look(seen, &plan.status, now);
        plan = plan.wake_by(next_look);
    }
    if let Some(policy) = seen.missing_policy.clone().filter(|_| plan.leaves_a_pod(seen)) {
        plan.actions.insert(0, Action::ProtectNamespace(policy));
    }
    warnings::add(&mut plan, now);
    plan
}

fn decide(seen: &Observed, now: Timestamp) -> Plan {
    if let Some(deletion) = &seen.deletion {
        return end::deleting(seen, deletion, now);
    }
    if seen.status.phase == Phase::Failed {
        return end::failed(seen, now);
    }
    if let Some(deadline) = deadline::of_session(seen, &seen.status).filter(|deadline| deadline.is_over(seen, now)) {
        return end::expired(seen, &deadline, now);
    }
    if seen.spec.as_ref().is_ok_and(|spec| spec.suspend) {
        return suspend::suspend(seen, now);
    }
    match &seen.pod {
        PodState::Absent => start::create(seen, now),
        PodState::Foreign => Plan::publish(status(seen, Reason::PodNameTaken, pod_name_taken(&seen.name), now)),
        // Left as it is, until its time is over.
        PodState::Unreadable => Plan::publish(seen.status.clone()),
        PodState::Unscheduled(wait) => start::unscheduled(seen, wait, now),
        PodState::Starting(trouble) => start::starting(seen, trouble.as_ref(), now),
        PodState::Ready { .. } => running::running(seen, now),
        PodState::Ended(End::Desktop(words)) => end::fail(seen, Reason::DesktopEnded, words.clone(), now),
        PodState::Ended(End::Node(words)) => end::pod_failed(seen, words, now),
        PodState::Ended(End::Taken(reason)) => {
            Plan { actions: vec![Action::DeletePod], ..start::leaving(seen, *reason, now) }
        }
        PodState::Leaving(reason) => start::leaving(seen, *reason, now),
    }
}
