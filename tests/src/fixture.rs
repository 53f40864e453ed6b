//! What tests of the gateway need: a cluster with a controller, and desktops on simulated nodes.

use std::{ffi::OsString, path::Path};

use anyhow::Result;
use serde_json::json;
use vdi_cluster::SimulatedNodes;

use crate::{
    fake_desktop,
    gateway::{DOMAIN, Gateway, GatewayLaunch},
    stack::{Settings, Stack},
    test_namespace::TestNamespace,
};

pub struct Fixture {
    /// The port in the public URL.
    pub public_port: u16,
    pub desktop_port: u16,
    _nodes: SimulatedNodes,
    pub stack: Stack,
}

/// The longest timeouts that the policy allows for two templates.
pub const BRIEF: (&str, &str) = ("brief", "30m");
pub const BRIEFEST: (&str, &str) = ("briefest", "15m");

impl Fixture {
    /// Starts it with its state in `directory`, and with two nodes of 16 GPUs each.
    pub async fn start(directory: &Path) -> Result<Self> {
        Self::with_controller(directory, &[], Vec::new()).await
    }

    /// The same with flags and a command prefix for the controller.
    pub async fn with_controller(directory: &Path, flags: &[&str], runner: Vec<OsString>) -> Result<Self> {
        let most = [BRIEF, BRIEFEST].map(|(name, most)| json!({ "templates": [name], "timeout": { "max": most } }));
        let policy = json!({ "overrides": most });
        Self::with_settings(directory, flags, Settings { policy, runner, ..Settings::default() }).await
    }

    /// The same with other settings. `flags` are added to the controller's flags that gateways need.
    pub async fn with_settings(directory: &Path, flags: &[&str], settings: Settings) -> Result<Self> {
        let public_port = vdi_cluster::free_port()?;
        let urls = format!("https://{{user}}.{{domain}}:{public_port}");
        let controller = ["--domain", DOMAIN, "--url-template", &urls];
        let controller = controller.iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        let stack = Stack::start(directory, Settings { controller, ..settings }).await?;
        let nodes = SimulatedNodes::start(&stack.cluster, 2, 16).await?;
        Ok(Self { public_port, desktop_port: fake_desktop::start().await?, _nodes: nodes, stack })
    }

    /// The gateway's public URL.
    pub fn public_url(&self) -> String {
        format!("https://{DOMAIN}:{}", self.public_port)
    }

    /// Starts a gateway at a port, with additional flags. Its log is `<name>.log`.
    pub async fn gateway(&self, name: &'static str, port: u16, flags: &[&str]) -> Result<Gateway> {
        // Simulated pods have loopback addresses, which the gateway otherwise never connects to.
        let simulated = ["--pod-cidr", "127.64.0.0/16"];
        let flags = simulated.iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        Gateway::start(&self.stack, GatewayLaunch { name, port, public_port: self.public_port, flags }).await
    }

    /// Creates a namespace with a running session of alice's.
    pub async fn running(&self, name: &str) -> Result<TestNamespace> {
        let namespace = TestNamespace::new(&self.stack, name).await?;
        namespace.template(json!({ "port": self.desktop_port, "path": "/vnc.html" })).await?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        Ok(namespace)
    }
}
