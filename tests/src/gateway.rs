//! A running gateway.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use vdi_cluster::{Launch, Server};

use crate::{
    replica::Replica,
    stack::{Stack, gateway, program},
};

/// Desktops in tests and in the demo are one label below. Browsers resolve names below `localhost` to this machine.
pub const DOMAIN: &str = "vdi.localhost";

/// A gateway on loopback with a certificate from the cluster's authority. Dropping it stops it.
pub struct Gateway {
    pub replica: Replica,
    address: SocketAddr,
    public_port: u16,
}

/// How to start a gateway.
pub struct GatewayLaunch {
    /// Its log is `<name>.log`.
    pub name: &'static str,
    pub port: u16,
    /// The port in the public address. With several replicas, it belongs to the load balancer.
    pub public_port: u16,
    pub flags: Vec<String>,
}

impl Gateway {
    pub async fn start(stack: &Stack, launch: GatewayLaunch) -> Result<Self> {
        Self::start_program(stack, &program("vdi-gateway"), launch).await
    }

    /// The same with another executable.
    pub async fn start_program(stack: &Stack, program: &Path, launch: GatewayLaunch) -> Result<Self> {
        let GatewayLaunch { name, port, public_port, flags } = launch;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (certificate, key) = stack.cluster.certificate(name, &[DOMAIN, &format!("*.{DOMAIN}")])?;
        let public = format!("https://{DOMAIN}:{public_port}");
        let settings = [
            ("--listen", address.to_string()),
            ("--public-url", public),
            ("--tls-cert", certificate.display().to_string()),
            ("--tls-key", key.display().to_string()),
            ("--namespace", "vdiwarden-system".to_owned()),
        ];
        let settings = settings.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let launch = Launch {
            arguments: settings.chain(flags).map(Into::into).collect(),
            // A variable, so that a flag takes precedence.
            environment: vec![
                ("VDI_OPERATIONS_LISTEN", "127.0.0.1:0".into()),
                ("KUBECONFIG", stack.cluster.kubeconfig(&gateway())?.into()),
                ("VDI_LOGIN_KEYS_FILE", stack.login_keys.clone().into()),
            ],
            ..Launch::new(name, program)
        };
        let server = Server::start(&stack.cluster.logs(), launch)?;
        let log = stack.cluster.logs().join(name).with_extension("log");
        let mut replica = Replica::new(server, log, "operations");
        replica.wait_until_ready().await?;
        Ok(Self { replica, address, public_port })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same gateway, for visitors who connect to something in front of it.
    pub fn behind(self, front: SocketAddr) -> Self {
        Self { address: front, ..self }
    }

    /// The host with the port of the public address.
    pub fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.public_port)
    }

    /// Opens a new connection with TLS and HTTP/1.1.
    pub async fn connect(&self, host: &str) -> Result<TlsStream<TcpStream>> {
        self.connect_for(host, &[]).await
    }

    /// The same for HTTP/2.
    pub async fn connect_http2(&self, host: &str) -> Result<TlsStream<TcpStream>> {
        let stream = self.connect_for(host, &[b"h2"]).await?;
        ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "the gateway has no HTTP/2");
        Ok(stream)
    }

    async fn connect_for(&self, host: &str, protocols: &[&[u8]]) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.context("connecting to the gateway")?;
        let mut config = vdi_service::any_certificate::client()?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(TlsConnector::from(Arc::new(config)).connect(host.to_owned().try_into()?, stream).await?)
    }
}
