//! Turns VDISessions into desktops. One pass over a session is five steps: observe -> plan -> apply -> publish -> requeue
//! (`reconcile.rs`).

#![deny(clippy::disallowed_methods)]

mod accelerated;
mod activity;
mod apply;
mod capacity;
mod client;
mod clock;
mod digest;
mod events;
mod fence;
mod fetch;
#[cfg(test)]
mod fixture;
mod home;
mod hosts;
mod in_flight;
mod leader;
mod lease;
mod line;
mod memory;
mod metrics;
mod observe;
mod orphans;
mod plan;
mod pod_state;
mod publish;
mod queue;
mod reason;
mod reconcile;
mod renderer;
mod resources;
mod server;
mod settings;
mod stores;
mod template;
mod terms;
mod traces;
mod unreadable;
mod url;
mod usage;
mod volume;

use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};
use vdi_service::{LoginKeys, stop_signal};

use crate::{
    activity::Activity,
    client::Connection,
    clock::Clock,
    fence::Fence,
    home::Homes,
    hosts::HostClaims,
    in_flight::InFlight,
    leader::Candidate,
    line::Lines,
    memory::Memories,
    metrics::{Counters, Metrics},
    queue::Queue,
    server::Probes,
    settings::Settings,
};

// One thread has room for thousands of sessions, and the wake-ups of several cost more than they save.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings: Settings = vdi_service::settings::load();
    let identity = leader::identity();
    let endpoint = settings.otlp_endpoint.as_ref();
    let traces = endpoint.map(|endpoint| traces::provider(endpoint, &identity)).transpose()?;
    let lines = settings.log.lines()?;
    tracing_subscriber::registry().with(lines).with(traces.as_ref().map(traces::layer)).init();
    let result = run(settings, identity).await;
    if let Some(traces) = traces {
        traces::finish(traces).await;
    }
    result
}

async fn run(settings: Settings, identity: String) -> anyhow::Result<()> {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), ?settings, "starting");
    let login_keys = LoginKeys::read(settings.login_keys_file.as_deref())?;
    let stop = stop_signal()?.shared();
    let (clock, counters, queue) = (Arc::new(Clock::default()), Counters::default(), Arc::new(Queue::default()));
    let connection = Connection::infer(&identity, clock.clone(), counters.clone()).await?;
    let fence = if settings.leader_elect { Fence::closed() } else { Fence::open() };
    let client = connection.client(fence.clone(), leader::WRITE_TIMEOUT)?;

    let stores = stores::watch(&client, &queue, &counters);
    let metrics = Arc::new(Metrics::new(counters.clone(), stores.clone(), queue.clone(), fence.clone()));
    let probes = Probes { stores: stores.clone(), queue: queue.clone(), metrics };
    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("listening on {}", settings.listen))?;
    tracing::info!(listen = %listener.local_addr()?, identity, pid = std::process::id(), "serving /healthz, /readyz and /metrics");
    // To the very end, so that the last of it is seen.
    tokio::spawn(axum::serve(listener, server::router(probes)).into_future());

    let context = reconcile::Context {
        memories: Memories {
            hosts: HostClaims::new(settings.url_template.in_domain(&settings.domain)),
            homes: Homes::default(),
            lines: Lines::default(),
            activity: Activity::of(settings.activity_url.clone(), settings.activity_token_file.clone()),
            login_keys,
            policy: resources::namespace_policy_spec(&settings.gateway_namespace),
            queue: queue.clone(),
        },
        reach: settings.reach.clone(),
        in_flight: InFlight::default(),
        client,
        stores,
        clock: clock.clone(),
        queue,
        counters,
    };
    tokio::select! {
        complete = context.stores.wait_until_complete() => complete.context("the watches have ended")?,
        () = stop.clone() => return Ok(()),
    }
    if settings.leader_elect {
        // A connection of its own: renewing the lease doesn't queue behind the work.
        let leases = connection.client(Fence::open(), leader::RENEW_TIMEOUT)?;
        let namespace = settings.lease_namespace();
        let aside = context.stores.aside.clone();
        let candidate = Candidate::new(leases, &namespace, &settings.lease_name, &identity, fence, clock, aside);
        lead(&candidate, context, settings.concurrency, stop).await?;
    } else {
        reconcile::run(context, settings.concurrency, stop).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Works from when this replica is the leader until it is to stop. Fails when another has become the leader.
async fn lead(
    candidate: &Candidate,
    context: reconcile::Context,
    concurrency: u16,
    stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let mut held = tokio::select! {
        held = candidate.acquire() => held?,
        () = stop.clone() => return Ok(()),
    };
    let lost = tokio::select! {
        () = reconcile::run(context, concurrency, stop) => None,
        lost = held.hold() => Some(lost),
    };
    match lost {
        None => held.release().await,
        // What a restart does better than this process could: forget all that it believes, and stand by.
        Some(lost) => {
            tracing::error!(error = lost.to_string(), "ending");
            return Err(lost);
        }
    }
    Ok(())
}
