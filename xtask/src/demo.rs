//! `cargo xtask demo`: one desktop, end to end.

mod check;
mod network;

use std::{
    io::BufRead,
    path::{Path, PathBuf},
    pin::pin,
};

use anyhow::{Context, Result, bail};
use kube::Api;
use tokio::sync::mpsc;
use vdi_api::VDISession;
use vdi_cluster::{RealNode, RealNodeOptions, SimulatedNodes, User};
use vdi_service::stop_signal_or_hangup;
use vdi_tests::{
    gateway::{DOMAIN, Gateway, GatewayLaunch},
    oidc::OidcProvider,
    setup,
    stack::{DESKTOPS, Settings, Stack, alice},
    step, target, workspace,
};

use crate::follow::follow;

#[derive(clap::Args)]
pub struct Options {
    /// Do in headless Chromium what alice and bob would do, save the picture of her desktop to target/demo.png, and end
    #[arg(long)]
    check: bool,

    /// Sign in through the login form of a real OpenID provider. --check does that too
    #[arg(long)]
    oidc: bool,

    /// Load each page so many times in headless Chromium while network interfaces of this machine come and go, and end
    #[arg(long, value_name = "TIMES", conflicts_with_all = ["check", "simulated"])]
    network: Option<u64>,

    /// Simulate the nodes: needs neither root nor a browser, and there is no desktop to see
    #[arg(long)]
    simulated: bool,
}

const SESSION: &str = "alice-desktop";

/// What is up while the demo is. Dropping it takes everything down.
struct Demo {
    // The gateway goes first, then the nodes: their pods are processes on this machine.
    gateway: Option<Gateway>,
    provider: Option<OidcProvider>,
    _nodes: Box<dyn Send>,
    stack: Stack,
}

impl Demo {
    fn gateway(&self) -> Result<&Gateway> {
        self.gateway.as_ref().context("the gateway is stopped")
    }
}

pub async fn run(options: &Options) -> Result<()> {
    if let Some(why) = setup::why_no_real_node().filter(|_| !options.simulated) {
        bail!("{why}; `cargo xtask demo --simulated` works without");
    }
    let directory = target().join("clusters/demo");
    let where_to_look = || format!("the demo failed; logs are in {}", directory.join("logs").display());
    let mut stop = pin!(stop_signal_or_hangup()?);
    let mut demo = tokio::select! {
        demo = start(options, &directory) => demo.with_context(where_to_look)?,
        () = &mut stop => bail!("interrupted; everything that was started is gone again"),
    };
    let result = tokio::select! {
        result = show(options, &mut demo) => result.with_context(where_to_look),
        () = &mut stop => Ok(()),
    };
    eprintln!("\nTaking everything down ...");
    drop(demo);
    eprintln!("Everything is gone; the logs are in {}", directory.join("logs").display());
    result
}

async fn start(options: &Options, directory: &Path) -> Result<Demo> {
    setup::wasm_target()?;
    let images = if options.simulated { Vec::new() } else { vec![setup::desktop_image().await?] };
    if (options.check && !options.simulated) || options.network.is_some() {
        setup::browser().await?;
    }
    let port = port()?;
    let urls = format!("https://{{user}}.{{domain}}:{port}");
    let controller = ["--domain", DOMAIN, "--url-template", &urls].map(String::from).into();
    let stack = Stack::start(directory, Settings { controller, ..Settings::default() }).await?;
    let nodes = start_nodes(options, &stack, images).await?;
    let provider =
        if options.oidc || options.network.is_some() { Some(start_provider(&stack, port).await?) } else { None };
    let gateway = start_gateway(&stack, port, provider.as_ref()).await?;
    stack.kubectl_ok(&User::admin(), apply("ubuntu-desktop")).await?;
    Ok(Demo { gateway: Some(gateway), provider, _nodes: nodes, stack })
}

async fn start_gateway(stack: &Stack, port: u16, provider: Option<&OidcProvider>) -> Result<Gateway> {
    let flags = provider.map(OidcProvider::flags).unwrap_or_default();
    let launch = GatewayLaunch { name: "vdi-gateway", port, public_port: port, flags };
    step("Starting the gateway", Gateway::start(stack, launch)).await
}

async fn start_provider(stack: &Stack, gateway_port: u16) -> Result<OidcProvider> {
    let public_url = format!("https://{DOMAIN}:{gateway_port}");
    let logs = stack.cluster.logs();
    step("Starting an OpenID provider", OidcProvider::start(&logs, vdi_cluster::free_port()?, &public_url)).await
}

/// The usual one, so that addresses are the same each time, unless something has it.
fn port() -> Result<u16> {
    const USUAL: u16 = 8443;
    match std::net::TcpListener::bind(("127.0.0.1", USUAL)) {
        Ok(_) => Ok(USUAL),
        Err(_) => Ok(vdi_cluster::free_port()?),
    }
}

async fn start_nodes(options: &Options, stack: &Stack, images: Vec<PathBuf>) -> Result<Box<dyn Send>> {
    Ok(match options.simulated {
        true => Box::new(SimulatedNodes::start(&stack.cluster, 3, 8).await?),
        false => Box::new(RealNode::start(&stack.cluster, RealNodeOptions { gpus: 1, images }).await?),
    })
}

fn apply(sample: &str) -> [String; 3] {
    let path = workspace().join("deploy/samples").join(sample).with_extension("yaml");
    ["apply".to_owned(), "-f".to_owned(), path.display().to_string()]
}

async fn show(options: &Options, demo: &mut Demo) -> Result<()> {
    apply_session(&demo.stack).await?;
    if options.check && !options.simulated {
        return check::run(demo).await;
    }
    if let Some(times) = options.network {
        return network::run(demo, times).await;
    }
    let stack = &demo.stack;
    let sessions: Api<VDISession> = Api::namespaced(stack.cluster.client(&alice()).await?, DESKTOPS);
    step("Following the session to Running", follow(&sessions, SESSION)).await?;
    println!("\n$ kubectl get vdi -n {DESKTOPS}");
    println!("{}", stack.kubectl_ok(&alice(), ["get", "vdi", "-n", DESKTOPS]).await?);
    if options.check {
        return Ok(());
    }
    if options.simulated {
        println!("The nodes are simulated: there is no desktop behind this address.");
    }
    println!("To look around from another terminal, as alice or as administrator:");
    for user in [alice(), User::admin()] {
        println!("  export KUBECONFIG={}", stack.cluster.kubeconfig(&user)?.display());
    }
    println!("  {} get vdi -n {DESKTOPS}", stack.cluster.kubectl_path().display());
    println!("\nCtrl-C takes everything down again.");
    println!("\nYour browser will ask about the certificate, as it doesn't know this cluster's authority.");
    if demo.provider.is_some() {
        println!("\nAlice's desktop. Sign in as {}, with any password:\n", alice().name);
        println!("  https://{}/\n", demo.gateway()?.authority(&format!("alice.{DOMAIN}")));
        println!("All of her desktops:\n\n  https://{}/", demo.gateway()?.authority(DOMAIN));
        return std::future::pending().await;
    }
    links(demo).await
}

async fn apply_session(stack: &Stack) -> Result<()> {
    println!("\n$ kubectl apply -f deploy/samples/alice-desktop.yaml    # as {}", alice().name);
    print!("{}", stack.kubectl_ok(&alice(), apply(SESSION)).await?);
    Ok(())
}

/// A link that signs alice in, and another one each time that Enter is pressed. Never returns.
async fn links(demo: &Demo) -> Result<()> {
    let mut lines = lines();
    loop {
        println!("\nAlice's desktop. The link works once, for a minute; press Enter for another one.");
        println!("\n  {}", link(demo).await?);
        if lines.recv().await.is_none() {
            return std::future::pending().await;
        }
    }
}

/// As `curl` and a Kubernetes token would get it.
async fn link(demo: &Demo) -> Result<String> {
    let (host, code) = demo.gateway()?.link(&demo.stack, &alice(), DESKTOPS, SESSION).await?;
    Ok(format!("https://{}/.vdi/enter#{code}", demo.gateway()?.authority(&host)))
}

/// What is typed, for as long as somebody may. The thread ends with the process.
fn lines() -> mpsc::UnboundedReceiver<()> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let typed = std::io::stdin().lock().lines();
        typed.map_while(Result::ok).map_while(|_| sender.send(()).ok()).for_each(drop);
    });
    lines
}
