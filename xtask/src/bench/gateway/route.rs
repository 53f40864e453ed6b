//! A route from a browser to a desktop, and the requests that a browser makes over it.

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

/// A direct connection to the desktop, or a proxy in front of it.
#[derive(Clone)]
pub struct Route {
    pub name: &'static str,
    pub address: SocketAddr,
    /// `None` without TLS.
    pub tls: Option<TlsConnector>,
    /// The proxy's process ID, `None` for a direct connection.
    pub proxy: Option<u32>,
}

/// A signed-in user. The other routes get the same headers and ignore them.
#[derive(Clone)]
pub struct Visitor {
    /// The desktop's host, without the port.
    pub host: String,
    /// The host with the port.
    pub authority: String,
    /// The session token, as `name=value`.
    pub cookie: String,
}

/// TLS without session resumption: each connection makes a full handshake.
pub fn tls() -> Result<TlsConnector> {
    let mut config = vdi_service::any_certificate::client()?;
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Route {
    /// One small GET over a new connection.
    pub async fn get(&self, visitor: &Visitor) -> Result<()> {
        let answer = self.ask(visitor, visitor.request("/page")?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status == StatusCode::OK && body == desktop::PAGE, "{}: {status}: {body:?}", self.name);
        Ok(())
    }

    /// Opens a websocket over a new connection.
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
        asked.await.with_context(|| format!("{}: request to {}", self.name, self.address))
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
    /// Requests `frames` frames with a payload of `size` bytes each from the desktop, and reads all of them. One read fills at
    /// most `buffer`.
    pub async fn ask(&mut self, frames: u64, size: u64, buffer: &mut [u8]) -> Result<()> {
        self.stream.write_all(&desktop::message(frames, size)).await?;
        self.stream.flush().await?;
        let mut left = frames as usize * desktop::frame(size).len();
        while left > 0 {
            let room = left.min(buffer.len());
            let count = self.stream.read(&mut buffer[..room]).await?;
            ensure!(count > 0, "a websocket ended with {left} bytes missing");
            left -= count;
        }
        Ok(())
    }
}
