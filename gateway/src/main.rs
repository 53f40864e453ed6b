//! Lets the owner of a desktop in, and nobody else. This only wires the library's parts.

mod settings;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use futures::future::OptionFuture;
use jiff::Timestamp;
use kube::{Client, Config};
use tokio::{
    net::TcpSocket,
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
        Gateway,
        listen::{self, certificate::CertificateFiles},
        operations::{self, LastReport, Operations},
    },
    sessions::Directory,
    token::Schedule,
};
use vdi_service::{Aside, Need, Needs, Secrets, stop_signal};

use crate::settings::Settings;

// musl's own has one lock for all threads: with it, new connections cost nearly a third more CPU on two cores.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<()> {
    let settings: Settings = vdi_service::settings::load();
    tracing_subscriber::registry().with(settings.log.lines()?).init();
    run(settings).await
}

async fn run(settings: Settings) -> Result<()> {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), ?settings, "starting");
    settings.shared.check()?;
    let (certificate, provider) = (settings.certificate()?, settings.provider()?);
    let stop = stop_signal()?;
    let socket = bind(settings.listen)?;
    let operations_listener = tokio::net::TcpListener::bind(settings.operations_listen).await;
    let operations_listener =
        operations_listener.with_context(|| format!("listening on {}", settings.operations_listen))?;
    let client = client().await?;

    let (directory, activity) = (Arc::<Directory>::default(), Arc::<Activity>::default());
    let (aside, needs) = (Arc::<Aside>::default(), Needs::default());
    let secrets =
        Secrets { client: client.clone(), namespace: settings.namespace(), aside: aside.clone(), needs: needs.clone() };
    let login_keys = settings.shared.login_keys(&secrets)?;
    let (public, reach) = (settings.public_url.clone(), settings.reach.clone());
    let watcher = Watcher::new(public, reach, login_keys, directory.clone(), activity.clone(), aside.clone());
    let schedule = Schedule { rotation: settings.key_rotation.duration(), spread: Schedule::SPREAD };
    let (key_rotator, keys) = KeyRotator::new(&secrets, &settings.keys_secret, schedule);
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
        aside,
        concurrency: ConcurrencyLimit::default(),
        upstream: UpstreamLimits::default(),
        metrics,
        cache_limit: settings.cache_limit.duration(),
        started: Timestamp::now(),
        stopping: stopped,
    });
    let operations = Operations {
        gateway: gateway.clone(),
        activity_token: settings.shared.activity_token(&secrets),
        needs: needs.clone(),
        last_report: Arc::new(watch::Sender::new(LastReport::default())),
    };
    let browsers =
        Browsers { socket, certificate, needs: needs.clone(), port: needs.announce("the port for browsers") };
    tracing::info!(
        operations = %operations_listener.local_addr()?,
        pid = std::process::id(),
        "serving /healthz, /readyz, /metrics, /activity and /check"
    );
    let mut working = JoinSet::new();
    working.spawn(watcher.run(client, needs));
    working.spawn(key_rotator.run());
    tokio::spawn(async move {
        if let Err(error) = replay_guard.delete_expired().await {
            tracing::warn!(%error, "cannot delete the Leases of expired codes; the next gateway that starts will");
        }
    });
    // Until the very end, so that the controller can read the last input.
    let (finish, finished) = oneshot::channel::<()>();
    let operations_server = axum::serve(operations_listener, operations::router(operations.clone()))
        .with_graceful_shutdown(async { drop(finished.await) });
    let operations_server = tokio::spawn(operations_server.into_future());
    tokio::spawn(async move {
        stop.await;
        tracing::info!("stopping");
        stopping.send_replace(true);
    });
    tokio::select! {
        served = browsers.serve(gateway, &settings) => served?,
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

/// What it takes to serve browsers.
struct Browsers {
    socket: TcpSocket,
    certificate: Option<CertificateFiles>,
    needs: Needs,
    port: Need,
}

impl Browsers {
    /// Waits for the files that browsers can't be served without, and serves until the gateway has to stop. Before that,
    /// connections are refused.
    async fn serve(self, gateway: Arc<Gateway>, settings: &Settings) -> Result<()> {
        let Self { socket, certificate, needs, port } = self;
        let certificate = certificate.map(|files| files.follow(&gateway.public, needs.announce("the certificate")));
        let provider =
            gateway.provider.as_ref().map(|provider| (provider, needs.announce("the OpenID provider's files")));
        let files = async {
            tokio::join!(
                OptionFuture::from(certificate),
                OptionFuture::from(provider.as_ref().map(|(provider, need)| provider.wait_for_files(need)))
            )
        };
        let mut stopping = gateway.stopping.clone();
        let (certificate, _) = tokio::select! {
            files = files => files,
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
        };
        let listener = socket.listen(BACKLOG)?;
        port.is_met();
        port.report(&format!("serving browsers on {} at {}", listener.local_addr()?, settings.public_url));
        let (max_connections, drain) = (settings.max_connections, settings.drain.duration());
        Ok(listen::serve(gateway, listener.into_std()?, certificate, max_connections, drain).await?)
    }
}

/// Connections that the kernel accepts ahead of the gateway, as many as with tokio's own listeners.
const BACKLOG: u32 = 1024;

/// Takes the address, so that it is known at once if another program has it, and listens on it once that is asked for.
fn bind(address: SocketAddr) -> Result<TcpSocket> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        std::io::Result::Ok(socket)
    };
    bound().with_context(|| format!("listening on {address}"))
}

async fn client() -> Result<Client> {
    let mut config = Config::infer().await.context("no cluster: set KUBECONFIG, or run in a pod")?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(WATCH_PATIENCE);
    // Errors must surface; requests are retried only where that makes sense.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}
