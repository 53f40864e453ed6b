//! One pass: observe -> plan -> apply -> publish -> requeue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Client, ResourceExt,
    runtime::{
        Controller,
        controller::{self, Action as Requeue},
        events::Recorder,
        reflector::ObjectRef,
    },
};
use tokio::sync::watch::error::RecvError;
use vdi_api::{VDISession, VDITemplate};

use crate::{
    apply::{ApplyError, Outcome, apply},
    hosts::HostClaims,
    in_flight::InFlight,
    metrics::Metrics,
    observe::observe,
    plan::{Action, pending, plan},
    pod_state::PodState,
    publish::{PublishError, publish},
    stores::{Stores, Watches},
};

/// What every pass works with.
pub struct Context {
    pub client: Client,
    pub stores: Stores,
    pub hosts: HostClaims,
    pub in_flight: InFlight,
    pub events: Recorder,
    pub metrics: Arc<Metrics>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("the watches have ended: {0}")]
    Watch(#[from] RecvError),
}

/// After an error of the API server.
const RETRY: Duration = Duration::from_secs(5);
/// After the cluster refused a pod: a quota is freed without an event that reaches this controller.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// Sleeping is measured by a clock that doesn't jump when the wall clock does, so it is never for long.
const LONGEST_SLEEP: Duration = Duration::from_secs(10 * 60);

/// Runs until `stop`, then finishes the passes that have begun.
pub async fn run(
    watches: Watches,
    context: Context,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let stores = context.stores.clone();
    let by_template = move |template: VDITemplate| waiting_for(&template.name_any(), &stores);
    let config = controller::Config::default().concurrency(concurrency);
    Controller::for_stream(watches.sessions, context.stores.sessions.clone())
        .owns_stream(watches.pods)
        .watches_stream(watches.templates, by_template)
        .with_config(config)
        .graceful_shutdown_on(stop)
        .run(reconcile, |_, _, _| Requeue::requeue(RETRY), Arc::new(context))
        .for_each(log)
        .await;
}

/// The sessions that a new or changed template may set going: those without a pod.
fn waiting_for(template: &str, stores: &Stores) -> Vec<ObjectRef<VDISession>> {
    let has_pod = |session: &VDISession| session.status.as_ref().is_some_and(|status| status.pod_name.is_some());
    let sessions = stores.sessions.state().into_iter();
    let waiting = sessions.filter(|session| session.spec.template == template && !has_pod(session));
    waiting.map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

async fn reconcile(session: Arc<VDISession>, context: Arc<Context>) -> Result<Requeue, ReconcileError> {
    context.stores.wait_until_complete().await?;
    let began = Instant::now();
    let result = pass(&session, &context).await;
    context.metrics.reconciled(result.is_ok(), began.elapsed());
    result
}

async fn pass(session: &VDISession, context: &Context) -> Result<Requeue, ReconcileError> {
    let Context { client, stores, hosts, in_flight, events, .. } = context;
    if in_flight.is_replaced(session) {
        return Ok(Requeue::await_change());
    }
    let now = whole_seconds(Timestamp::now());

    let observed = observe(session, stores, hosts);
    if observed.pod != PodState::Absent {
        in_flight.pod_seen(session);
    }
    let mut plan = plan(&observed, now);
    let mut wake = plan.wake.map(|at| until(at, now));
    if let Some(action) = plan.action.take() {
        let creates_pod = matches!(action, Action::CreatePod(_));
        if let Some(wait) = in_flight.pod_is_coming(session).filter(|_| creates_pod) {
            return Ok(Requeue::requeue(wait));
        }
        match apply(action, &observed, client).await? {
            Outcome::Done if creates_pod => in_flight.pod_created(session),
            Outcome::Done => {}
            Outcome::Refused { reason, message } => {
                plan.status = pending(&observed, reason, message, now);
                wake = Some(ASK_AGAIN);
            }
        }
    }
    if publish(session, &plan.status, client, events).await? {
        in_flight.status_written(session);
    }
    Ok(wake.map_or_else(Requeue::await_change, |wait| Requeue::requeue(wait.min(LONGEST_SLEEP))))
}

/// Kubernetes keeps times in whole seconds.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn until(deadline: Timestamp, now: Timestamp) -> Duration {
    deadline.duration_since(now).try_into().unwrap_or(Duration::ZERO)
}

type Pass = Result<(ObjectRef<VDISession>, Requeue), controller::Error<ReconcileError, kube::runtime::watcher::Error>>;

async fn log(pass: Pass) {
    match pass {
        Ok((session, _)) => tracing::debug!(%session, "reconciled"),
        // Deleted between the event and the pass: there is nothing to do.
        Err(controller::Error::ObjectNotFound(_)) => {}
        Err(controller::Error::ReconcilerFailed(error, session)) => tracing::error!(%session, %error, "will try again"),
        Err(error) => tracing::warn!(%error, "a watch was interrupted and goes on"),
    }
}
