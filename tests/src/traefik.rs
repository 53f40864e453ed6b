//! Traefik, which implements the Gateway API.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use vdi_cluster::{Launch, Server, User};

use crate::{setup, stack::Stack, wait};

/// Traefik beside a cluster, whose Gateways it serves. Dropping it stops it.
pub struct Traefik {
    _server: Server,
}

impl Traefik {
    /// Starts it with entry points at these addresses. A Gateway has those that have the ports of its listeners.
    pub async fn start(stack: &Stack, addresses: &[SocketAddr]) -> Result<Self> {
        let program = setup::traefik().await?;
        let entry_points =
            addresses.iter().map(|address| format!("--entryPoints.p{0}.address={address}", address.port()));
        let settings = [
            "--providers.kubernetesGateway=true",
            // It tells nobody about itself.
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
        ];
        let arguments = settings.map(str::to_owned).into_iter().chain(entry_points).map(Into::into).collect();
        let environment = vec![("KUBECONFIG", stack.cluster.kubeconfig(&User::admin())?.into())];
        let launch = Launch { arguments, environment, ..Launch::new("traefik", &program) };
        let mut server = Server::start(&stack.cluster.logs(), launch)?;
        for address in addresses {
            wait::until("Traefik listens", async || {
                server.check()?;
                Ok(TcpStream::connect(address).await.is_ok())
            })
            .await
            .context("see traefik.log")?;
        }
        Ok(Self { _server: server })
    }
}
