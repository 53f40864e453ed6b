//! What a pod is doing, read off its status once, so that planning is a plain match.

mod container;
mod end;
#[cfg(test)]
mod tests;

use crate::{
    reason::Reason,
    stores::{
        LeanPod,
        lean_pod::{Condition, Status},
    },
    terms::Terms,
};

pub use container::Trouble;
pub use end::End;

/// The pod that a session's name leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum PodState {
    Absent,
    /// A pod of that name exists, but it isn't this session's: an earlier session's, or somebody's own.
    Foreign,
    /// A pod of that name exists, and what it is doing can't be read.
    Unreadable,
    /// It has no node.
    Unscheduled(Wait),
    /// It has a node and isn't ready.
    Starting(Option<Trouble>),
    /// The desktop answers.
    Ready {
        ip: Option<String>,
    },
    /// It has ended for good; it holds no GPU any more.
    Ended(End),
    /// It has been deleted and is shutting down: why, as a reason for the user.
    Leaving(Reason),
}

/// What a pod without a node waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
    /// The scheduler hasn't said anything yet.
    Scheduler,
    /// Somebody else's scheduling gates, such as Kueue's.
    Gates(String),
    /// No node has what it needs, in the scheduler's words.
    Node(String),
}

/// Whether what the desktop itself wrote is told: its last words are read by more people than its user.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Log {
    Told,
    NotTold,
}

impl PodState {
    /// Of a pod that is the session's own.
    pub fn of(pod: &LeanPod, terms: Option<&Terms>) -> Self {
        let status = &pod.status;
        let log = if terms.is_some_and(|terms| terms.log_in_status) { Log::Told } else { Log::NotTold };
        // However it ends from here on, that is why.
        if pod.metadata.deletion_timestamp.is_some() {
            return Self::Leaving(disruption(status).unwrap_or(Reason::PodDeleted));
        }
        if pod.has_ended() {
            return Self::Ended(End::of(status, log));
        }
        if pod.spec.node_name.is_none() {
            return Self::Unscheduled(Wait::of(status));
        }
        match condition(status, "Ready") {
            Some(ready) if ready.status == "True" => Self::Ready { ip: status.pod_ip.clone() },
            _ => Self::Starting(status.container_statuses.iter().find_map(|container| Trouble::of(container, log))),
        }
    }
}

impl Wait {
    fn of(status: &Status) -> Self {
        let Some(scheduled) = condition(status, "PodScheduled") else { return Self::Scheduler };
        let message = scheduled.message.clone().unwrap_or_default();
        match scheduled.reason.as_deref() {
            Some("SchedulingGated") => Self::Gates(message),
            Some("Unschedulable") => Self::Node(message),
            _ => Self::Scheduler,
        }
    }
}

/// Who took the pod away, from the [condition] that Kubernetes' own components leave on it.
///
/// [condition]: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
fn disruption(status: &Status) -> Option<Reason> {
    Some(match condition(status, "DisruptionTarget")?.reason.as_deref()? {
        "PreemptionByScheduler" => Reason::Preempted,
        "DeletionByTaintManager" | "DeletionByPodGC" => Reason::NodeLost,
        // It says more itself, and does so for what the pod did.
        "TerminationByKubelet" => return None,
        _ => Reason::Evicted,
    })
}

fn condition<'a>(status: &'a Status, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}
