//! Where visitors reach gateways.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where visitors connect to one gateway, or to a load balancer in front of several.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    address: SocketAddr,
    public_port: u16,
}

impl Entrance {
    /// `public_port` is the one in public URLs. With several replicas, it belongs to the load balancer.
    pub const fn new(address: SocketAddr, public_port: u16) -> Self {
        Self { address, public_port }
    }

    /// The same public address, for visitors who connect to something else.
    pub const fn behind(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// Where to connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
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
