//! How sessions end: by time, by failing, by being deleted.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vdi_api::{Expiry, Phase, VDISessionStatus};

use super::{
    action::{Action, Plan},
    deadline::Deadline,
    status::status,
};
use crate::model::{Deletion, Observed, PodState, Reason, time::after};

/// For a session whose template is gone before it had a pod.
const DEFAULT_FAILED_RETENTION: Duration = Duration::from_secs(60 * 60);

/// Kubernetes' garbage collector gets this time to delete what a deleted session owned.
const GARBAGE_COLLECTION: Duration = Duration::from_secs(10);

/// How many evictions by nodes a session survives: more are taken for the desktop's own fault.
const FAILED_PODS: i64 = 3;

/// Kubernetes deletes the pod, through its owner reference. Where somebody prevents that, the controller does: the GPU is released
/// whatever happens to the session.
pub fn deleting(seen: &Observed, deletion: &Deletion, now: Timestamp) -> Plan {
    let published = match seen.status.phase {
        Phase::Terminating => seen.status.clone(),
        _ => status(seen, Reason::Deleted, "the session was deleted".to_owned(), now),
    };
    let plan = Plan::publish(published);
    let overdue = match deletion.is_kubernetes_own {
        true => after(deletion.since, GARBAGE_COLLECTION),
        false => deletion.since,
    };
    match seen.pod {
        // Budgets count a session's GPUs while its status names a pod.
        PodState::Absent | PodState::Foreign => {
            Plan { status: VDISessionStatus { pod_name: None, ..plan.status.clone() }, ..plan }
        }
        PodState::Leaving(_) | PodState::Unreadable => plan,
        _ if now < overdue => plan.wake_by(Some(overdue)),
        _ => Plan { actions: vec![Action::DeletePod], ..plan },
    }
}

/// The user sees why before the session goes: the status first, and once that is seen, the deletion.
pub fn expired(seen: &Observed, deadline: &Deadline, now: Timestamp) -> Plan {
    let Deadline { at, expiry } = deadline;
    let (reason, message) = match expiry {
        Expiry::Idle => (Reason::Idle, format!("stopped at {at} because nobody was using it")),
        Expiry::MaxTimeout => (Reason::Expired, format!("reached its template's longest session time at {at}")),
        _ => (Reason::Expired, format!("timed out at {at}")),
    };
    let is_published = seen.status.phase == Phase::Terminating;
    let published = if is_published { seen.status.clone() } else { status(seen, reason, message, now) };
    let actions = is_published.then_some(Action::DeleteSession);
    Plan { actions: actions.into_iter().collect(), ..Plan::publish(published) }
}

/// The end of a session that can't run. Its pod goes in the next pass, so that a crash in between can't lose the reason.
pub fn fail(seen: &Observed, reason: Reason, message: String, now: Timestamp) -> Plan {
    // A pod that is deleted is no longer named; one that has ended is kept for its log.
    let is_kept = matches!(seen.pod, PodState::Ended(_));
    Plan::publish(VDISessionStatus {
        pod_name: seen.status.pod_name.clone().filter(|_| is_kept),
        expires_at: Some(Time(after(now, failed_retention(seen)))),
        expiry: Some(Expiry::FailedRetention),
        ..status(seen, reason, message, now)
    })
}

/// A failed session holds no GPU, stays for its user to see, and is then removed.
pub fn failed(seen: &Observed, now: Timestamp) -> Plan {
    let removal = seen.status.expires_at.as_ref().map_or_else(|| after(now, failed_retention(seen)), |time| time.0);
    let action = match seen.pod {
        _ if now >= removal => Some(Action::DeleteSession),
        PodState::Unscheduled(_) | PodState::Starting(_) | PodState::Ready { .. } => Some(Action::DeletePod),
        // An ended pod holds no GPU, and its log may be of use.
        PodState::Absent | PodState::Foreign | PodState::Unreadable | PodState::Ended(_) | PodState::Leaving(_) => None,
    };
    Plan {
        actions: action.into_iter().collect(),
        // Once it is deleted, the watch will show it. Until then there is nothing to do.
        wake: Some(removal).filter(|removal| now < *removal),
        ..Plan::publish(VDISessionStatus { expires_at: Some(Time(removal)), ..seen.status.clone() })
    }
}

/// Its node evicted the pod. The session gets a new one, a few times: published and counted first, then the old one is deleted.
pub fn pod_failed(seen: &Observed, words: &str, now: Timestamp) -> Plan {
    let is_counted = seen.status.failed_pods > seen.pod_attempt;
    if is_counted {
        return Plan { actions: vec![Action::DeletePod], ..Plan::publish(seen.status.clone()) };
    }
    let failed_pods = seen.pod_attempt + 1;
    if failed_pods > FAILED_PODS {
        let message = format!("evicted {failed_pods} times: {words}");
        return fail(seen, Reason::PodFailed, message, now);
    }
    let message = format!("evicted by its node; starting a new pod: {words}");
    Plan::publish(VDISessionStatus { failed_pods, pod_name: None, ..status(seen, Reason::Evicted, message, now) })
}

fn failed_retention(seen: &Observed) -> Duration {
    seen.pinned.as_ref().map_or(DEFAULT_FAILED_RETENTION, |pinned| pinned.failed_retention.duration())
}
