//! Lets the owner of a desktop in, and nobody else: wires what the library has.

mod settings;

use std::{net::TcpListener, sync::Arc, time::Duration};

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
    activity::Activity,
    directory::Directory,
    keys::Keeper,
    launch::{Doorman, Once},
    metrics::Metrics,
    proxy::Proxy,
    questions::Questions,
    serve::{
        Gateway, listen,
        operations::{self, Asked, Operations},
    },
    token::Schedule,
    visitors::Visitors,
    watch::{WATCH_PATIENCE, Watcher},
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
    let (keeper, keys) = Keeper::new(client.clone(), &namespace, &settings.keys_secret, schedule, aside.clone());
    let metrics = Arc::new(Metrics::new(directory.clone(), aside.clone()));
    let (stopping, stopped) = watch::channel(false);
    let codes = settings.codes_namespace.clone().unwrap_or_else(|| format!("{namespace}-codes"));
    let once = Once::new(client.clone(), &codes, aside.clone());
    let gateway = Arc::new(Gateway {
        public: settings.public_url.clone(),
        directory,
        keys,
        proxy: Proxy::new(activity.clone(), metrics.tunnels.clone())?,
        activity,
        provider,
        doorman: Doorman::new(client.clone(), &settings.token_audience, &settings.username_prefix),
        once: once.clone(),
        client: client.clone(),
        visitors: Visitors::default(),
        questions: Questions::default(),
        metrics,
        cache_limit: settings.cache_limit.duration(),
        began: Timestamp::now(),
        stopping: stopped,
    });
    let asked = Arc::new(watch::Sender::new(Asked::default()));
    let operations =
        Operations { gateway: gateway.clone(), activity_token: settings.activity_token_file.clone(), asked };
    tracing::info!(
        listen = %listener.local_addr()?,
        operations = %operations_listener.local_addr()?,
        public = %settings.public_url,
        pid = std::process::id(),
        "serving browsers, and /healthz, /readyz, /metrics, /activity and /check"
    );
    let mut working = JoinSet::new();
    working.spawn(watcher.run(client));
    working.spawn(keeper.run());
    tokio::spawn(async move {
        if let Err(error) = once.tidy().await {
            tracing::warn!(%error, "used codes of gateways that were stopped stay until the next one starts");
        }
    });
    // To the very end, so that the last of it is seen.
    let operations_listener = tokio::net::TcpListener::from_std(operations_listener)?;
    let (finish, finished) = oneshot::channel::<()>();
    let served_to_the_end = axum::serve(operations_listener, operations::router(operations.clone()))
        .with_graceful_shutdown(async { drop(finished.await) });
    let served_to_the_end = tokio::spawn(served_to_the_end.into_future());
    tokio::spawn(async move {
        stop.await;
        tracing::info!("stopping");
        stopping.send_replace(true);
    });
    tokio::select! {
        served = listen::serve(gateway, listener, certificate, settings.max_connections, settings.drain.duration()) => served?,
        // Without them, what is known stays as it is for ever.
        ended = working.join_next() => bail!("a watch has ended: {ended:?}"),
    }
    operations.last_word().await;
    drop(finish);
    // What is being answered still is; who keeps a connection for later doesn't keep this.
    let _ = timeout(Duration::from_secs(1), served_to_the_end).await;
    tracing::info!("stopped");
    Ok(())
}

fn listen_at(address: std::net::SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn client() -> Result<Client> {
    let mut config = Config::infer().await.context("no cluster to talk to: set KUBECONFIG, or run in a pod")?;
    config.connect_timeout = Some(std::time::Duration::from_secs(5));
    config.read_timeout = Some(WATCH_PATIENCE);
    // What fails is to be known, and is tried again where that makes sense.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}
