//! A way from a browser to a desktop, and what a browser does on it.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use http::{
    Request, Response, StatusCode,
    header::{CONNECTION, COOKIE, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::client::Resumption};

use super::desktop;

/// Straight to the desktop, or through a proxy.
#[derive(Clone)]
pub struct Way {
    pub name: &'static str,
    pub address: SocketAddr,
    /// `None` where there is no TLS.
    pub tls: Option<TlsConnector>,
    /// The proxy's process ID; `None` where there is none in between.
    pub proxy: Option<u32>,
}

/// Somebody who is let in by the gateway. The others are told the same, and don't care.
#[derive(Clone)]
pub struct Visitor {
    /// Of the desktop, without the port.
    pub host: String,
    /// With the port, as in the address.
    pub authority: String,
    /// The session token, as `name=value`.
    pub cookie: String,
}

/// TLS as browsers have it, but each connection begins anew: nothing is resumed.
pub fn tls() -> Result<TlsConnector> {
    let mut config = vdi_service::any_certificate::client()?;
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Way {
    /// A connection of its own, with one small GET.
    pub async fn get(&self, visitor: &Visitor) -> Result<()> {
        let answer = self.ask(visitor, visitor.request("/page")?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status == StatusCode::OK && body == desktop::PAGE, "{}: {status}: {body:?}", self.name);
        Ok(())
    }

    /// A connection of its own, with a websocket.
    pub async fn open(&self, visitor: &Visitor) -> Result<Websocket> {
        let mut request = visitor.request(desktop::WEBSOCKET)?;
        let origin = format!("https://{}", visitor.authority);
        let headers = [
            (CONNECTION, "upgrade"),
            (UPGRADE, "websocket"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "AAAAAAAAAAAAAAAAAAAAAA=="),
            (ORIGIN, &origin),
        ];
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse()?);
        }
        let answer = self.ask(visitor, request).await?;
        let status = answer.status();
        ensure!(status == StatusCode::SWITCHING_PROTOCOLS, "{}: no websocket, but {status}", self.name);
        Ok(Websocket { stream: TokioIo::new(hyper::upgrade::on(answer).await?) })
    }

    async fn ask(&self, visitor: &Visitor, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>> {
        let asked = async {
            let stream = self.connect(&visitor.host).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection.with_upgrades());
            anyhow::Ok(sender.send_request(request).await?)
        };
        asked.await.with_context(|| format!("{}: asking at {}", self.name, self.address))
    }

    async fn connect(&self, host: &str) -> Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            Some(tls) => Box::new(tls.connect(host.to_owned().try_into()?, stream).await?),
            None => Box::new(stream),
        })
    }
}

impl Visitor {
    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>> {
        let request = Request::get(path).header(HOST, &self.authority).header(COOKIE, &self.cookie);
        Ok(request.body(Empty::new())?)
    }
}

/// An open websocket.
pub struct Websocket {
    stream: TokioIo<Upgraded>,
}

impl Websocket {
    /// Asks the desktop for so many frames, each with so many bytes of payload, and reads them to the end. `buffer` is what
    /// is read at once.
    pub async fn ask(&mut self, frames: u64, size: u64, buffer: &mut [u8]) -> Result<()> {
        self.stream.write_all(&desktop::message(frames, size)).await?;
        self.stream.flush().await?;
        let mut left = frames as usize * desktop::frame(size).len();
        while left > 0 {
            let room = left.min(buffer.len());
            let count = self.stream.read(&mut buffer[..room]).await?;
            ensure!(count > 0, "a websocket has ended with {left} bytes missing");
            left -= count;
        }
        Ok(())
    }
}
