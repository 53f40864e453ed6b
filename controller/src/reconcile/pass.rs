//! One pass over a session: view, allocate, probe, observe, plan, apply, publish.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use kube::{Client, runtime::controller::Action as Requeue};
use vdi_api::{Phase, VDISession, VDISessionStatus};
use vdi_planner::{
    model::{
        PodState,
        time::{until, whole_seconds},
    },
    plan::{Action, Notice, plan, status},
};

use super::{
    apply::{ApplyError, Outcome, apply},
    expectations::{BROKEN_WATCH, Expectations},
    observe::observe,
    publish::{PublishError, publish},
};
use crate::{
    allocate::Allocations,
    apiserver::{
        Clock,
        events::{self, SessionEvent},
    },
    cache::{SessionView, Stores, Workqueue},
    probe::Probes,
    telemetry::Counters,
};

/// What every pass works with.
pub struct Context {
    pub client: Client,
    pub clock: Arc<Clock>,
    pub stores: Stores,
    pub workqueue: Arc<Workqueue>,
    pub allocations: Allocations,
    pub probes: Probes,
    pub expectations: Expectations,
    /// The network policy that every namespace with desktops is to have.
    pub policy: NetworkPolicySpec,
    pub counters: Counters,
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl ReconcileError {
    /// The step that failed, as metrics name it.
    pub fn step(&self) -> &'static str {
        match self {
            Self::Apply(_) => "apply",
            Self::Publish(_) => "publish",
        }
    }
}

/// After the API server refused a pod: a quota is freed without an event that reaches this controller.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// Sleeps use the monotonic clock, which ignores jumps of the wall clock, so no sleep is long.
const LONGEST_SLEEP: Duration = Duration::from_secs(10 * 60);

pub async fn pass(session: &VDISession, context: &Context) -> Result<Requeue, ReconcileError> {
    let Context { client, clock, stores, allocations, probes, expectations, .. } = context;
    let now = whole_seconds(clock.now());

    let view = SessionView::of(session, stores, now);
    let allocation = allocations.allocate(&view, stores, now);
    let probed = probes.probe(&view, &allocation.home, stores, now).await;
    let observed = observe(view, allocation, probed, stores, &context.policy);
    if observed.pod != PodState::Absent {
        expectations.observe_pod(session);
    }
    if observed.missing_policy.is_none() {
        expectations.observe_policy(&observed.namespace);
    }

    let mut plan = plan(&observed, now);
    let mut wake = plan.wake.map(|at| until(at, now));
    let creates_pod = |action: &Action| matches!(action, Action::CreatePod(_));
    // What comes before the pod has been done too.
    if let Some(wait) = expectations.pod_expected(session).filter(|_| plan.actions.iter().any(creates_pod)) {
        return Ok(Requeue::requeue(wait));
    }
    let has_pod = !matches!(observed.pod, PodState::Absent | PodState::Foreign);
    let mut unprotected = None;
    for action in &plan.actions {
        let outcome = match action {
            Action::ProtectNamespace(_) => {
                // Should the watch not show the policy, look again.
                wake = wake.into_iter().chain([BROKEN_WATCH]).min();
                let write = async || apply(action, &observed, client).await;
                expectations.write_policy(&observed.namespace, write).await?
            }
            _ => apply(action, &observed, client).await?,
        };
        match outcome {
            Outcome::Done if creates_pod(action) => expectations.expect_pod(session),
            Outcome::Done => {}
            // A running desktop stays: taking it away would help those who keep its policy from being written.
            Outcome::Refused { message, .. } if has_pod && matches!(action, Action::ProtectNamespace(_)) => {
                wake = wake.into_iter().chain([ASK_AGAIN]).min();
                unprotected = Some(Notice { reason: "NetworkPolicyRefused", key: message.clone(), message });
            }
            Outcome::Refused { reason, message } => {
                plan.status = status(&observed, reason, message, now);
                wake = Some(ASK_AGAIN);
                allocations.release_home(session);
                break;
            }
        }
    }

    if let Some(version) = publish(session, &plan.status, client, now).await? {
        if let Some(took) = first_start(session, &plan.status, now) {
            context.counters.started(&session.spec.template, took);
        }
        expectations.expect_status(session, plan.status.clone(), version);
    }
    let notices = plan.notices.iter().chain(&unprotected);
    for notice in notices.filter(|notice| expectations.is_new(session, notice)) {
        let Notice { reason, message, key } = notice;
        let event = SessionEvent { is_warning: true, reason, message, action: format!("{:?}", plan.status.phase), key };
        events::write(session, event, client, now).await;
    }
    Ok(wake.map_or_else(Requeue::await_change, |wait| Requeue::requeue(wait.min(LONGEST_SLEEP))))
}

/// How long the session took from its creation to Running, if it runs for the first time. One whose spec was changed is left out: it
/// may have been suspended, which says nothing about how fast desktops start.
fn first_start(session: &VDISession, new: &VDISessionStatus, now: Timestamp) -> Option<Duration> {
    let ran = session.status.as_ref().is_some_and(|status| status.start_time.is_some());
    let created = session.metadata.creation_timestamp.as_ref()?.0;
    let is_first = new.phase == Phase::Running && !ran && session.metadata.generation == Some(1);
    is_first.then(|| until(now, created))
}
