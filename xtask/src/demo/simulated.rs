//! The demo without a real node: controller and gateway are processes beside the cluster.

use std::path::Path;

use anyhow::Result;
use vdi_cluster::{SimulatedNodes, User};
use vdi_tests::{
    gateway::{DOMAIN, Gateway, GatewayLaunch},
    oidc::OidcProvider,
    setup,
    stack::{Settings, Stack},
    step, workspace,
};

/// It runs. Dropping it stops everything.
pub struct Simulated {
    // Dropped in this order: the API server goes last.
    pub gateway: Gateway,
    pub provider: Option<OidcProvider>,
    _nodes: SimulatedNodes,
    pub stack: Stack,
}

pub async fn start(directory: &Path, port: u16, sign_in: bool) -> Result<Simulated> {
    setup::wasm_target()?;
    let urls = format!("https://{{user}}.{{domain}}:{port}");
    let controller = ["--domain", DOMAIN, "--url-template", &urls].map(String::from).into();
    let stack = Stack::start(directory, Settings { controller, ..Settings::default() }).await?;
    let nodes = SimulatedNodes::start(&stack.cluster, 3, 8).await?;
    let provider = if sign_in { Some(start_provider(&stack, port).await?) } else { None };
    let flags = provider.as_ref().map(OidcProvider::flags).unwrap_or_default();
    let launch = GatewayLaunch { name: "vdi-gateway", port, public_port: port, flags };
    let gateway = step("Starting the gateway", Gateway::start(&stack, launch)).await?;
    let template = workspace().join("deploy/samples/ubuntu-desktop.yaml").display().to_string();
    stack.kubectl_ok(&User::admin(), ["apply", "-f", &template]).await?;
    Ok(Simulated { gateway, provider, _nodes: nodes, stack })
}

async fn start_provider(stack: &Stack, port: u16) -> Result<OidcProvider> {
    let public_url = format!("https://{DOMAIN}:{port}");
    let logs = stack.cluster.logs();
    step("Starting an OpenID provider", OidcProvider::start(&logs, vdi_cluster::free_port()?, &public_url)).await
}
