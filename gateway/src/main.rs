//! Lets the owner of a desktop in, and nobody else. This only wires the library's parts.

mod settings;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use kube::{Client, Config};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};
use vdi_gateway::{
    access::{ConcurrencyLimit, UpstreamLimits},
    activity::Activity,
    kubernetes::{Authenticator, KeyRotator, ReplayGuard, WATCH_PATIENCE, Watcher},
    metrics::Metrics,
    proxy::Proxy,
    serve::{
        Gateway, listen,
        operations::{self, LastReport, Operations},
    },
    sessions::Directory,
    token::Schedule,
};
use vdi_service::{Aside, LoginKeys, stop_signal};

use crate::settings::Settings;

#[tokio::main]
async fn main() -> Result<()> {
    let settings: Settings = vdi_service::settings::load();
    tracing_subscriber::registry().with(settings.log.lines()?).init();
    run(settings).await
}

async fn run(settings: Settings) -> Result<()> {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), ?settings, "starting");
    let stop = stop_signal()?;
    let certificate = match settings.certificate()? {
        Some(files) => Some(files.follow().await?),
        None => None,
    };
    let provider = settings.provider()?;
    let login_keys = LoginKeys::read(settings.login_keys_file.as_deref())?;
    let listener = listen_at(settings.listen)?;
    let operations_listener = listen_at(settings.operations_listen)?;
    let (client, namespace) = (client().await?, settings.namespace());

    let (directory, activity) = (Arc::<Directory>::default(), Arc::<Activity>::default());
    let reach = settings.reach.clone();
    let aside = Arc::<Aside>::default();
    let public = settings.public_url.clone();
    let watcher = Watcher::new(public, reach, login_keys, directory.clone(), activity.clone(), aside.clone());
    let schedule = Schedule { rotation: settings.key_rotation.duration(), spread: Schedule::SPREAD };
    let (key_rotator, keys) =
        KeyRotator::new(client.clone(), &namespace, &settings.keys_secret, schedule, aside.clone());
    let metrics = Arc::new(Metrics::new(directory.clone(), aside.clone()));
    let (stopping, stopped) = watch::channel(false);
    let replay_guard = ReplayGuard::new(client.clone(), &settings.codes_namespace(), aside.clone());
    let gateway = Arc::new(Gateway {
        public: settings.public_url.clone(),
        directory,
        keys,
        proxy: Proxy::new(activity.clone(), metrics.tunnels.clone())?,
        activity,
        provider,
        authenticator: Authenticator::new(client.clone(), &settings.token_audience, &settings.username_prefix),
        replay_guard: replay_guard.clone(),
        client: client.clone(),
        concurrency: ConcurrencyLimit::default(),
        upstream: UpstreamLimits::default(),
        metrics,
        cache_limit: settings.cache_limit.duration(),
        started: Timestamp::now(),
        stopping: stopped,
    });
    let last_report = Arc::new(watch::Sender::new(LastReport::default()));
    let operations =
        Operations { gateway: gateway.clone(), activity_token: settings.activity_token_file.clone(), last_report };
    tracing::info!(
        listen = %listener.local_addr()?,
        operations = %operations_listener.local_addr()?,
        public = %settings.public_url,
        pid = std::process::id(),
        "serving browsers, and /healthz, /readyz, /metrics, /activity and /check"
    );
    let mut working = JoinSet::new();
    working.spawn(watcher.run(client));
    working.spawn(key_rotator.run());
    tokio::spawn(async move {
        if let Err(error) = replay_guard.delete_expired().await {
            tracing::warn!(%error, "cannot delete the Leases of expired codes; the next gateway that starts will");
        }
    });
    // Until the very end, so that the controller can read the last input.
    let operations_listener = tokio::net::TcpListener::from_std(operations_listener)?;
    let (finish, finished) = oneshot::channel::<()>();
    let operations_server = axum::serve(operations_listener, operations::router(operations.clone()))
        .with_graceful_shutdown(async { drop(finished.await) });
    let operations_server = tokio::spawn(operations_server.into_future());
    tokio::spawn(async move {
        stop.await;
        tracing::info!("stopping");
        stopping.send_replace(true);
    });
    let (max_connections, drain) = (settings.max_connections, settings.drain.duration());
    tokio::select! {
        served = listen::serve(gateway, listener, certificate, max_connections, drain) => served?,
        // Without the watches, the gateway would never learn of changes.
        ended = working.join_next() => bail!("a watch has ended: {ended:?}"),
    }
    operations.final_report().await;
    drop(finish);
    // Finishes open requests, but does not wait for idle connections.
    let _ = timeout(Duration::from_secs(1), operations_server).await;
    tracing::info!("stopped");
    Ok(())
}

fn listen_at(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn client() -> Result<Client> {
    let mut config = Config::infer().await.context("no cluster: set KUBECONFIG, or run in a pod")?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(WATCH_PATIENCE);
    // Errors must surface; requests are retried only where that makes sense.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}
