//! A websocket through a gateway to a [fake desktop](crate::fake_desktop), which echoes every byte twice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::{Method, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{entrance::Entrance, visitor::Visitor};

pub struct Websocket(TokioIo<Upgraded>);

impl Websocket {
    /// Opens a websocket like a page at the host.
    pub async fn open(gateway: &Entrance, visitor: &mut Visitor, host: &str) -> Result<Self> {
        let headers = [
            ("connection", "keep-alive, Upgrade".to_owned()),
            ("upgrade", "websocket".to_owned()),
            ("origin", format!("https://{}", gateway.authority(host))),
        ];
        let response = visitor.send(gateway, host, Method::GET, "/websockify", &headers, String::new()).await?;
        ensure!(response.status() == 101, "{response:?}");
        Ok(Self(TokioIo::new(hyper::upgrade::on(response).await?)))
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    /// Sends something, and checks that it is echoed.
    pub async fn speaks(&mut self) -> Result<()> {
        self.send(b"hi").await?;
        let mut heard = [0; 4];
        timeout(Duration::from_secs(10), self.0.read_exact(&mut heard)).await.context("silence")??;
        ensure!(&heard == b"hhii", "{heard:?}");
        Ok(())
    }

    /// Waits until the other side closes it.
    pub async fn ended(&mut self) -> Result<()> {
        let read = timeout(Duration::from_secs(30), self.0.read(&mut [0])).await.context("it is still open")?;
        ensure!(matches!(read, Ok(0) | Err(_)), "something was said");
        Ok(())
    }
}
