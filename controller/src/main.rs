//! Turns VDISessions into desktops. One pass over a session is five steps: observe -> plan -> apply -> publish -> requeue
//! (`reconcile.rs`).

mod accelerated;
mod activity;
mod apply;
mod events;
mod fetch;
#[cfg(test)]
mod fixture;
mod home;
mod hosts;
mod in_flight;
mod line;
mod memory;
mod metrics;
mod observe;
mod plan;
mod pod_state;
mod publish;
mod reason;
mod reconcile;
mod renderer;
mod resources;
mod server;
mod settings;
mod stores;
mod template;
mod terms;
mod url;

use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use futures::FutureExt;
use kube::Client;
use tokio::{net::TcpListener, signal::unix::SignalKind, sync::mpsc::unbounded_channel};

use crate::{
    activity::Activity,
    home::Homes,
    hosts::HostClaims,
    in_flight::InFlight,
    line::Lines,
    memory::Memories,
    metrics::Metrics,
    resources::Gateway,
    server::Probes,
    settings::{LogFormat, Settings},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    start_logging(&settings)?;
    let stop = stop_signal()?.shared();
    let client = Client::try_default().await.context("no cluster to talk to: set KUBECONFIG, or run in a pod")?;

    let (stores, watches) = stores::watch(&client);
    let metrics = Arc::new(Metrics::new(stores.sessions.clone()));
    let probes = Probes { stores: stores.clone(), metrics: metrics.clone() };
    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("listening on {}", settings.listen))?;
    tracing::info!(listen = %listener.local_addr()?, "serving /healthz, /readyz and /metrics");
    let serving = axum::serve(listener, server::router(probes)).with_graceful_shutdown(stop.clone());

    let (called, calls) = unbounded_channel();
    let context = reconcile::Context {
        memories: Memories {
            hosts: HostClaims::new(settings.url_template.in_domain(&settings.domain)),
            homes: Homes::default(),
            lines: Lines::default(),
            activity: Activity::of(settings.activity_url.clone()),
            gateway: Gateway { namespace: settings.gateway_namespace.clone() },
            called,
        },
        in_flight: InFlight::default(),
        client,
        stores,
        metrics,
    };
    let reconciling = reconcile::run(watches, context, calls, settings.concurrency, stop);
    let (served, ()) = tokio::join!(serving.into_future(), reconciling);
    tracing::info!("stopped");
    served.context("serving /healthz, /readyz and /metrics")
}

fn start_logging(settings: &Settings) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log).context("--log is not a log filter")?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.init(),
    }
    Ok(())
}

/// Ends with the first SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + Sync + 'static> {
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
