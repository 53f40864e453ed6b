//! One pass: observe -> plan -> apply -> publish -> requeue.

use std::{
    future::{Ready, ready},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::{
    Client, ResourceExt,
    runtime::{
        Controller,
        controller::{self, Action as Requeue},
        reflector::ObjectRef,
    },
};
use tracing::{Instrument, field::Empty};
use vdi_api::{Phase, VDISession, VDISessionStatus};
use vdi_service::Reach;

use crate::{
    apply::{ApplyError, Outcome, apply},
    clock::{Clock, until, whole_seconds},
    events::{self, News},
    in_flight::{self, InFlight},
    memory::Memories,
    metrics::Counters,
    observe::observe,
    orphans,
    plan::{Action, Notice, plan, status},
    pod_state::PodState,
    publish::{PublishError, publish},
    queue::Queue,
    renderer,
    stores::{self, Stores},
    unreadable, usage, volume,
};

/// What every pass works with.
pub struct Context {
    pub client: Client,
    pub stores: Stores,
    pub memories: Memories,
    pub reach: Reach,
    pub in_flight: InFlight,
    pub clock: Arc<Clock>,
    pub queue: Arc<Queue>,
    pub counters: Counters,
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// After an error of the API server.
const RETRY: Duration = Duration::from_secs(5);
/// After the cluster refused a pod: a quota is freed without an event that reaches this controller.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// Sleeping is measured by a clock that doesn't jump when the wall clock does, so it is never for long.
const LONGEST_SLEEP: Duration = Duration::from_secs(10 * 60);

/// Looks at every session, and at each again when something about it changes. Runs until `stop`, then finishes the passes
/// that have begun. The stores have to be complete.
pub async fn run(context: Context, concurrency: u16, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let (stores, queue) = (context.stores.clone(), context.queue.clone());
    // First the queue is opened and then filled: what changes in between comes twice rather than never.
    let triggers = queue.open();
    queue.add(stores::all(&stores.sessions));
    // Who has which home, and who waits for GPUs since when, has to be known before the first of them is planned for.
    for session in stores.sessions.state() {
        observe(&session, &stores, &context.memories, whole_seconds(context.clock.now()));
    }
    let context = Arc::new(context);
    let config = controller::Config::default().concurrency(concurrency);
    let passes = Controller::for_stream(stream::empty(), stores.sessions.clone())
        .reconcile_on(triggers)
        .with_config(config)
        .graceful_shutdown_on(stop)
        .run(reconcile, |_, _, _| Requeue::requeue(RETRY), context.clone())
        .for_each(|pass| finish(pass, &context));
    tokio::select! {
        () = passes => {}
        () = context.memories.activity.follow(
            || context.clock.now(),
            || stores.sessions.state().iter().filter_map(|session| session.uid()).collect(),
            || queue.add(stores::all(&stores.sessions)),
        ) => {}
        () = usage::follow(&stores, &context.client) => {}
        () = orphans::follow(&stores, &context.client) => {}
        () = unreadable::follow(&stores.aside, &context.client, &context.clock) => {}
    }
}

async fn reconcile(session: Arc<VDISession>, context: Arc<Context>) -> Result<Requeue, ReconcileError> {
    let key = ObjectRef::from_obj(session.as_ref());
    context.queue.taken(&key);
    // Read again: a change that came after `session` was read, and before this, isn't queued once more.
    let Some(session) = context.stores.sessions.get(&key) else { return Ok(Requeue::await_change()) };
    let session = context.in_flight.latest(session);
    let span = tracing::debug_span!(
        "reconcile",
        "k8s.namespace.name" = key.namespace,
        "vdi.session" = key.name,
        outcome = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    );
    let began = Instant::now();
    let result = pass(&session, &context).instrument(span.clone()).await;
    context.counters.reconciled(&result, began.elapsed());
    match &result {
        Ok(_) => drop(span.record("outcome", "ok")),
        Err(error) => {
            span.record("outcome", "error").record("otel.status_code", "ERROR");
            span.record("otel.status_description", error.to_string());
        }
    }
    result
}

async fn pass(session: &VDISession, context: &Context) -> Result<Requeue, ReconcileError> {
    let Context { client, stores, memories, in_flight, clock, counters, .. } = context;
    let now = whole_seconds(clock.now());

    let mut observed = observe(session, stores, memories, now);
    if observed.pod != PodState::Absent {
        in_flight.pod_seen(session);
    }
    if observed.missing_policy.is_none() {
        in_flight.policy_seen(&observed.namespace);
    }
    observed.renderer = renderer::read(&observed, &context.reach).await;
    observed.home = volume::read(&observed, client, &stores.aside, now).await;
    let mut plan = plan(&observed, now);
    let mut wake = plan.wake.map(|at| until(at, now));
    let creates_pod = |action: &Action| matches!(action, Action::CreatePod(_));
    // What comes before the pod has been done too.
    if let Some(wait) = in_flight.pod_is_coming(session).filter(|_| plan.actions.iter().any(creates_pod)) {
        return Ok(Requeue::requeue(wait));
    }
    let mut unprotected = None;
    let has_pod = !matches!(observed.pod, PodState::Absent | PodState::Foreign);
    for action in &plan.actions {
        let outcome = match action {
            Action::ProtectNamespace(_) => {
                // Whether it has come to stay is looked at again, should its watch not show it.
                wake = wake.into_iter().chain([in_flight::BROKEN_WATCH]).min();
                in_flight.protect(&observed.namespace, async || apply(action, &observed, client).await).await?
            }
            _ => apply(action, &observed, client).await?,
        };
        match outcome {
            Outcome::Done if creates_pod(action) => in_flight.pod_created(session),
            Outcome::Done => {}
            // A desktop that is there stays: to take it away would help those who keep its policy from being written.
            Outcome::Refused { message, .. } if has_pod && matches!(action, Action::ProtectNamespace(_)) => {
                wake = wake.into_iter().chain([ASK_AGAIN]).min();
                unprotected = Some(Notice { reason: "NetworkPolicyRefused", key: message.clone(), message });
            }
            Outcome::Refused { reason, message } => {
                plan.status = status(&observed, reason, message, now);
                wake = Some(ASK_AGAIN);
                memories.homes.leave(session);
                break;
            }
        }
    }
    if let Some(version) = publish(session, &plan.status, client, now).await? {
        if let Some(took) = first_start(session, &plan.status, now) {
            counters.started(&session.spec.template, took);
        }
        in_flight.status_written(session, plan.status.clone(), version);
    }
    let notices = plan.notices.iter().chain(&unprotected);
    for notice in notices.filter(|notice| in_flight.is_news(session, notice)) {
        let Notice { reason, message, key } = notice;
        let news = News { is_warning: true, reason, message, action: format!("{:?}", plan.status.phase), key };
        events::tell(session, news, client, now).await;
    }
    Ok(wake.map_or_else(Requeue::await_change, |wait| Requeue::requeue(wait.min(LONGEST_SLEEP))))
}

/// How long the session took from its creation to its first Running, when this is that. One whose spec was changed may have
/// been suspended for a while, which says nothing about how fast desktops start.
fn first_start(session: &VDISession, new: &VDISessionStatus, now: Timestamp) -> Option<Duration> {
    let ran = session.status.as_ref().is_some_and(|status| status.start_time.is_some());
    let created = session.metadata.creation_timestamp.as_ref()?.0;
    let is_first = new.phase == Phase::Running && !ran && session.metadata.generation == Some(1);
    is_first.then(|| until(now, created))
}

type Pass = Result<(ObjectRef<VDISession>, Requeue), controller::Error<ReconcileError, kube::runtime::watcher::Error>>;

fn finish(pass: Pass, context: &Context) -> Ready<()> {
    match pass {
        Ok((session, _)) => tracing::debug!(%session, "reconciled"),
        // Deleted, with nothing left to wait for.
        Err(controller::Error::ObjectNotFound(session)) => {
            let session = session.into_kind_unchecked(());
            context.queue.taken(&session);
            context.in_flight.forget(&session);
            context.stores.departed.forget(&session);
            context.memories.leave_line(&session);
        }
        Err(controller::Error::ReconcilerFailed(error, session)) => tracing::error!(%session, %error, "will try again"),
        Err(error) => tracing::error!(%error, "the reconcile loop has failed"),
    }
    ready(())
}
