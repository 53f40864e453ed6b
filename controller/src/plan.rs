//! Step two: what to do. Pure: no client, no clock, no randomness.
//!
//! The plan follows from what is observed, not from what was done before, with one exception: Failed is final.

mod deadline;
mod end;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod up;
mod warning;

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, Secret},
    networking::v1::NetworkPolicy,
};
use vdi_api::{Phase, VDISessionStatus};

use crate::{
    observe::Observed,
    pod_state::{End, PodState},
    reason::Reason,
    resources::pod_name_taken,
};

pub use status::status;
use status::status_after;
pub use warning::Notice;

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In this order; the first that the cluster refuses is the last that is tried.
    pub actions: Vec<Action>,
    /// What the status should be. Where it is so already, nothing is written.
    pub status: VDISessionStatus,
    /// What the user is told in an event, besides the change of the status.
    pub notices: Vec<Notice>,
    /// When time alone will change the plan.
    pub wake: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Writes the policy that all desktops of the namespace have in common.
    ProtectNamespace(Box<NetworkPolicy>),
    /// Creates the policy that lets this one reach more.
    OpenNetwork(Box<NetworkPolicy>),
    CreateHome(Box<PersistentVolumeClaim>),
    /// Creates what the desktop has its password from.
    CreateLogin(Box<Secret>),
    CreatePod(Box<Pod>),
    DeletePod,
    DeleteSession,
}

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
    plan.warn_of_the_end(now);
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
        return suspend(seen, now);
    }
    match &seen.pod {
        PodState::Absent => start::create(seen, now),
        PodState::Foreign => Plan::publish(status(seen, Reason::PodNameTaken, pod_name_taken(&seen.name), now)),
        // It goes on as it was, until its time is over.
        PodState::Unreadable => Plan::publish(seen.status.clone()),
        PodState::Unscheduled(wait) => start::unscheduled(seen, wait, now),
        PodState::Starting(trouble) => start::starting(seen, trouble.as_ref(), now),
        PodState::Ready { .. } => up::running(seen, now),
        PodState::Ended(End::Desktop(words)) => end::fail(seen, Reason::DesktopEnded, words.clone(), now),
        PodState::Ended(End::Node(words)) => end::pod_failed(seen, words, now),
        PodState::Ended(End::Taken(reason)) => {
            Plan { actions: vec![Action::DeletePod], ..start::leaving(seen, *reason, now) }
        }
        PodState::Leaving(reason) => start::leaving(seen, *reason, now),
    }
}

fn suspend(seen: &Observed, now: Timestamp) -> Plan {
    match seen.pod {
        PodState::Absent | PodState::Foreign => {
            let message = "suspended: it holds no GPU; set spec.suspend to false to go on".to_owned();
            Plan::publish(VDISessionStatus {
                failed_pods: 0,
                ..status_after(&stopped(&seen.status), seen, Reason::Suspended, message, now)
            })
        }
        PodState::Leaving(_) | PodState::Unreadable => Plan::publish(seen.status.clone()),
        _ => Plan { actions: vec![Action::DeletePod], ..Plan::publish(seen.status.clone()) },
    }
}

/// Without what it had from running: neither a pod nor a clock.
fn stopped(status: &VDISessionStatus) -> VDISessionStatus {
    VDISessionStatus { pod_name: None, start_time: None, template_generation: None, ..status.clone() }
}

impl Observed {
    /// What the user was last told, when it was for this reason.
    fn message_of(&self, reason: Reason) -> Option<String> {
        let ready = self.status.ready().filter(|ready| ready.reason == reason.to_string())?;
        Some(ready.message.clone())
    }

    fn reason(&self) -> Option<Reason> {
        Reason::named(&self.status.ready()?.reason)
    }
}

impl Plan {
    fn publish(status: VDISessionStatus) -> Self {
        Self { actions: Vec::new(), status, notices: Vec::new(), wake: None }
    }

    fn leaves_a_pod(&self, seen: &Observed) -> bool {
        let has_one = matches!(seen.pod, PodState::Unscheduled(_) | PodState::Starting(_) | PodState::Ready { .. });
        let is = |wanted: fn(&Action) -> bool| self.actions.iter().any(wanted);
        is(|action| matches!(action, Action::CreatePod(_)))
            || has_one && !is(|action| matches!(action, Action::DeletePod | Action::DeleteSession))
    }

    fn wake_by(self, time: Option<Timestamp>) -> Self {
        Self { wake: self.wake.into_iter().chain(time).min(), ..self }
    }
}
