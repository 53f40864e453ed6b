use std::{
    future::{Ready, ready},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use kube::{
    ResourceExt,
    runtime::{
        Controller,
        controller::{self, Action as Requeue},
        reflector::ObjectRef,
    },
};
use tracing::{Instrument, field::Empty};
use vdi_api::VDISession;
use vdi_planner::model::time::whole_seconds;

use super::{
    orphans,
    pass::{Context, ReconcileError, pass},
    template_status, unreadable,
};
use crate::cache::{self, SessionView};

/// After an error of the API server.
const RETRY: Duration = Duration::from_secs(5);

/// Gives every session a pass, and again whenever something about it changes. Runs until `stop`, then finishes the passes that have
/// begun. The stores have to be filled.
pub async fn run(context: Context, concurrency: u16, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let (stores, workqueue) = (context.stores.clone(), context.workqueue.clone());
    // Opened first and filled then: what changes in between comes twice rather than never.
    let triggers = workqueue.open();
    workqueue.add(cache::all(&stores.sessions));
    // Who has which home, and who waits for GPUs since when, has to be known before the first pass.
    for session in stores.sessions.state() {
        let now = whole_seconds(context.clock.now());
        context.allocations.allocate(&SessionView::of(&session, &stores, now), &stores, now);
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
        () = context.probes.activity.follow(
            || context.clock.now(),
            || stores.sessions.state().iter().filter_map(|session| session.uid()).collect(),
            || workqueue.add(cache::all(&stores.sessions)),
        ) => {}
        () = template_status::follow(&stores, &context.allocations, &context.client) => {}
        () = orphans::follow(&stores, &context.client) => {}
        () = unreadable::follow(&stores.aside, &context.client, &context.clock) => {}
    }
}

async fn reconcile(session: Arc<VDISession>, context: Arc<Context>) -> Result<Requeue, ReconcileError> {
    let key = ObjectRef::from_obj(session.as_ref());
    context.workqueue.begin(&key);
    // Read again: a change between the read of `session` and this point isn't queued once more.
    let Some(session) = context.stores.sessions.get(&key) else { return Ok(Requeue::await_change()) };
    let session = context.expectations.latest(session);
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
    context.counters.reconciled(result.as_ref().err().map(ReconcileError::step), began.elapsed());
    match &result {
        Ok(_) => drop(span.record("outcome", "ok")),
        Err(error) => {
            span.record("outcome", "error").record("otel.status_code", "ERROR");
            span.record("otel.status_description", error.to_string());
        }
    }
    result
}

type Pass = Result<(ObjectRef<VDISession>, Requeue), controller::Error<ReconcileError, kube::runtime::watcher::Error>>;

fn finish(pass: Pass, context: &Context) -> Ready<()> {
    match pass {
        Ok((session, _)) => tracing::debug!(%session, "reconciled"),
        // The session is gone.
        Err(controller::Error::ObjectNotFound(session)) => {
            let session = session.into_kind_unchecked(());
            context.workqueue.begin(&session);
            context.expectations.forget(&session);
            context.stores.termination_reasons.forget(&session);
            context.allocations.leave_queue(&session);
        }
        Err(controller::Error::ReconcilerFailed(error, session)) => tracing::error!(%session, %error, "will retry"),
        Err(error) => tracing::error!(%error, "the reconcile loop has failed"),
    }
    ready(())
}
