//! One pass: observe -> plan -> apply -> publish -> requeue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{
    Client, ResourceExt,
    runtime::{
        Controller,
        controller::{self, Action as Requeue},
        reflector::ObjectRef,
    },
};
use tokio::sync::{mpsc::UnboundedReceiver, watch::error::RecvError};
use vdi_api::{VDISession, VDITemplate};

use crate::{
    apply::{ApplyError, Outcome, apply},
    events::{self, News},
    in_flight::InFlight,
    memory::Memories,
    metrics::Metrics,
    observe::observe,
    plan::{Action, Notice, plan, status},
    pod_state::PodState,
    publish::{PublishError, publish},
    renderer,
    stores::{Stores, Watches},
};

/// What every pass works with.
pub struct Context {
    pub client: Client,
    pub stores: Stores,
    pub memories: Memories,
    pub in_flight: InFlight,
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
    called: UnboundedReceiver<ObjectRef<VDISession>>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let context = Arc::new(context);
    let stores = context.stores.clone();
    let by_template = move |template: VDITemplate| waiting_for(&template.name_any(), &stores);
    let stores = context.stores.clone();
    let by_namespace = move |policy: NetworkPolicy| in_namespace(&policy, &stores);
    let config = controller::Config::default().concurrency(concurrency);
    let passes = Controller::for_stream(watches.sessions, context.stores.sessions.clone())
        .owns_stream(watches.pods)
        .watches_stream(watches.templates, by_template)
        .watches_stream(watches.policies, by_namespace)
        .watches_stream(watches.claims, |_| None)
        .watches_stream(watches.priorities, |_| None)
        .reconcile_on(calls(called))
        .with_config(config)
        .graceful_shutdown_on(stop)
        .run(reconcile, |_, _, _| Requeue::requeue(RETRY), context.clone())
        .for_each(async |pass| finish(pass, &context));
    tokio::select! {
        () = passes => {}
        () = context.memories.activity.follow(Timestamp::now) => {}
    }
}

/// The sessions that a new or changed template may set going: those without a pod.
fn waiting_for(template: &str, stores: &Stores) -> Vec<ObjectRef<VDISession>> {
    let has_pod = |session: &VDISession| session.status.as_ref().is_some_and(|status| status.pod_name.is_some());
    let sessions = stores.sessions.state().into_iter();
    let waiting = sessions.filter(|session| session.spec.template == template && !has_pod(session));
    waiting.map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

fn calls(called: UnboundedReceiver<ObjectRef<VDISession>>) -> impl Stream<Item = ObjectRef<VDISession>> {
    stream::unfold(called, async |mut called| Some((called.recv().await?, called)))
}

/// Those that a policy is about, which may have been changed by somebody else.
fn in_namespace(policy: &NetworkPolicy, stores: &Stores) -> Vec<ObjectRef<VDISession>> {
    let sessions = stores.sessions.state().into_iter();
    let sessions = sessions.filter(|session| session.namespace() == policy.namespace());
    sessions.map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

async fn reconcile(session: Arc<VDISession>, context: Arc<Context>) -> Result<Requeue, ReconcileError> {
    context.stores.wait_until_complete().await?;
    let began = Instant::now();
    let result = pass(&session, &context).await;
    context.metrics.reconciled(result.is_ok(), began.elapsed());
    result
}

async fn pass(session: &VDISession, context: &Context) -> Result<Requeue, ReconcileError> {
    let Context { client, stores, memories, in_flight, .. } = context;
    if in_flight.is_replaced(session) {
        return Ok(Requeue::await_change());
    }
    let now = whole_seconds(Timestamp::now());

    let mut observed = observe(session, stores, memories, now);
    if observed.pod != PodState::Absent {
        in_flight.pod_seen(session);
    }
    observed.renderer = renderer::read(&observed).await;
    let mut plan = plan(&observed, now);
    let mut wake = plan.wake.map(|at| until(at, now));
    for action in &plan.actions {
        let creates_pod = matches!(action, Action::CreatePod(_));
        if let Some(wait) = in_flight.pod_is_coming(session).filter(|_| creates_pod) {
            return Ok(Requeue::requeue(wait));
        }
        let outcome = match action {
            Action::ProtectNamespace(_) => {
                in_flight.protect(&observed.namespace, async || apply(action, &observed, client).await).await?
            }
            _ => apply(action, &observed, client).await?,
        };
        match outcome {
            Outcome::Done if creates_pod => in_flight.pod_created(session),
            Outcome::Done => {}
            Outcome::Refused { reason, message } => {
                plan.status = status(&observed, reason, message, now);
                wake = Some(ASK_AGAIN);
                break;
            }
        }
    }
    if publish(session, &plan.status, client, now).await? {
        in_flight.status_written(session);
    }
    for notice in &plan.notices {
        if in_flight.is_news(session, notice) {
            let Notice { reason, message, key } = notice;
            let action = format!("{:?}", plan.status.phase);
            events::tell(session, News { is_warning: true, reason, message, action, key }, client, now).await;
        }
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

fn finish(pass: Pass, context: &Context) {
    match pass {
        Ok((session, _)) => tracing::debug!(%session, "reconciled"),
        // Deleted, with nothing left to wait for.
        Err(controller::Error::ObjectNotFound(session)) => {
            let session = session.into_kind_unchecked(());
            context.in_flight.forget(&session);
            context.memories.leave_line(&session);
        }
        Err(controller::Error::ReconcilerFailed(error, session)) => tracing::error!(%session, %error, "will try again"),
        Err(error) => tracing::warn!(%error, "a watch was interrupted and goes on"),
    }
}
