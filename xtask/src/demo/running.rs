//! What the demo runs: the cluster with its nodes, the gateway, and alice's session.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use vdi_cluster::{RealNode, RealNodeOptions, SimulatedNodes, User};
use vdi_tests::{
    gateway::{DOMAIN, Gateway, GatewayLaunch},
    oidc::OidcProvider,
    setup,
    stack::{DESKTOPS, Settings, Stack, alice},
    step, workspace,
};

use super::options::Options;

pub const SESSION: &str = "alice-desktop";

/// The running demo. Dropping it stops everything.
pub struct Demo {
    // Dropped in this order: the gateway, then the nodes, whose pods are processes on this machine.
    pub gateway: Option<Gateway>,
    pub provider: Option<OidcProvider>,
    _nodes: Box<dyn Send>,
    pub stack: Stack,
}

impl Demo {
    pub fn gateway(&self) -> Result<&Gateway> {
        self.gateway.as_ref().context("the gateway is stopped")
    }
}

pub async fn start(options: &Options, directory: &Path) -> Result<Demo> {
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

pub async fn start_gateway(stack: &Stack, port: u16, provider: Option<&OidcProvider>) -> Result<Gateway> {
    let flags = provider.map(OidcProvider::flags).unwrap_or_default();
    let launch = GatewayLaunch { name: "vdi-gateway", port, public_port: port, flags };
    step("Starting the gateway", Gateway::start(stack, launch)).await
}

pub async fn start_provider(stack: &Stack, gateway_port: u16) -> Result<OidcProvider> {
    let public_url = format!("https://{DOMAIN}:{gateway_port}");
    let logs = stack.cluster.logs();
    step("Starting an OpenID provider", OidcProvider::start(&logs, vdi_cluster::free_port()?, &public_url)).await
}

/// The usual port, so that addresses stay the same, or a free one if it is taken.
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

pub async fn apply_session(stack: &Stack) -> Result<()> {
    println!("\n$ kubectl apply -f deploy/samples/alice-desktop.yaml    # as {}", alice().name);
    print!("{}", stack.kubectl_ok(&alice(), apply(SESSION)).await?);
    Ok(())
}

/// As `curl` and a Kubernetes token would get it.
pub async fn link(demo: &Demo) -> Result<String> {
    let (host, code) = demo.gateway()?.link(&demo.stack, &alice(), DESKTOPS, SESSION).await?;
    Ok(format!("https://{}/.vdi/enter#{code}", demo.gateway()?.authority(&host)))
}
