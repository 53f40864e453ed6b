//! Turns VDISessions into desktops. `reconcile/pass.rs` is one pass over a session.

#![deny(clippy::disallowed_methods)]

mod allocate;
mod apiserver;
mod cache;
mod check;
mod operations;
mod probe;
mod reconcile;
mod settings;
mod telemetry;

use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};
use vdi_planner::resources;
use vdi_service::{Need, Needs, Secrets, stop_signal};

use crate::{
    allocate::Allocations,
    apiserver::{
        Clock, Connection, WriteGate,
        leader::{self, Candidate},
    },
    cache::Workqueue,
    check::Check,
    operations::{Metrics, Operations},
    probe::{Activity, Probes},
    reconcile::Expectations,
    settings::Settings,
    telemetry::{Counters, traces},
};

// One thread serves thousands of sessions, and waking several would cost more than it saves.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    if let Some(check) = Check::requested(std::env::args_os()) {
        return check.run().await;
    }
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
    settings.shared.check()?;
    let stop = stop_signal()?.shared();
    let (clock, counters, workqueue) =
        (Arc::new(Clock::default()), Counters::default(), Arc::new(Workqueue::default()));
    let connection = Connection::infer(&identity, clock.clone(), counters.clone()).await?;
    let write_gate = if settings.leader_elect { WriteGate::closed() } else { WriteGate::open() };
    let client = connection.client(write_gate.clone(), leader::WRITE_TIMEOUT)?;

    let needs = Needs::default();
    let stores = cache::watch(&client, &workqueue, &counters, &needs);
    let secrets = Secrets {
        // Whichever replica finds that a Secret is missing creates it, whether or not it leads.
        client: connection.client(WriteGate::open(), leader::WRITE_TIMEOUT)?,
        namespace: settings.namespace(),
        aside: stores.aside.clone(),
        needs: needs.clone(),
    };
    let mut login_keys = settings.shared.login_keys(&secrets)?;
    let activity_token = settings.shared.activity_token(&secrets);
    let lease = settings.leader_elect.then(|| needs.announce(format!("the Lease {}", settings.lease_name)));
    let metrics = Arc::new(Metrics::new(counters.clone(), stores.clone(), workqueue.clone(), write_gate.clone()));
    let operations = Operations { stores: stores.clone(), queue: workqueue.clone(), metrics, needs };
    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("listening on {}", settings.listen))?;
    tracing::info!(listen = %listener.local_addr()?, identity, pid = std::process::id(), "serving /healthz, /readyz and /metrics");
    // Until the process ends, so that the last figures can be read.
    tokio::spawn(axum::serve(listener, operations::router(operations)).into_future());

    let urls = settings.url_template.in_domain(&settings.domain);
    let context = reconcile::Context {
        allocations: Allocations::new(urls, login_keys.clone(), workqueue.clone()),
        probes: Probes {
            client: client.clone(),
            activity: Activity::of(settings.activity_url.clone(), activity_token.clone()),
            reach: settings.reach.clone(),
        },
        expectations: Expectations::default(),
        policy: resources::namespace_policy_spec(&settings.gateway_namespace),
        client,
        clock: clock.clone(),
        stores,
        workqueue,
        counters,
    };
    let is_complete = async {
        context.stores.wait_until_complete().await.context("the watches have ended")?;
        login_keys.wait_for(Option::is_some).await.context("the watch of the login keys has ended")?;
        if let Some(token) = &activity_token {
            token.wait().await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        complete = is_complete => complete?,
        () = stop.clone() => return Ok(()),
    }
    if let Some(lease) = lease {
        // A connection of its own, so that renewing the lease doesn't queue behind the work.
        let leases = connection.client(WriteGate::open(), leader::RENEW_TIMEOUT)?;
        let namespace = settings.namespace();
        let aside = context.stores.aside.clone();
        let candidate = Candidate::new(leases, &namespace, &settings.lease_name, &identity, write_gate, clock, aside);
        lead(&candidate, lease, context, settings.concurrency, stop).await?;
    } else {
        reconcile::run(context, settings.concurrency, stop).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Works from when this replica is the leader until `stop`. Fails when the lease is lost.
async fn lead(
    candidate: &Candidate,
    lease: Need,
    context: reconcile::Context,
    concurrency: u16,
    stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let mut leadership = tokio::select! {
        leadership = candidate.acquire(&lease) => leadership?,
        () = stop.clone() => return Ok(()),
    };
    let lost = tokio::select! {
        () = reconcile::run(context, concurrency, stop) => None,
        lost = leadership.renew() => Some(lost),
    };
    match lost {
        None => leadership.release().await,
        // A restart does best what is needed now: forget everything, and stand by.
        Some(lost) => {
            tracing::error!(error = lost.to_string(), "ending");
            return Err(lost);
        }
    }
    Ok(())
}
