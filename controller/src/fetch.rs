//! One GET of one short text from one address: no redirects, no names that lead elsewhere.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1,
    header::{AUTHORIZATION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use vdi_api::Protocol;
use vdi_service::any_certificate;

/// More than a line of text, or the activity of some ten thousand sessions.
const MOST_BYTES: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no answer within {0:?}")]
    Slow(Duration),
    #[error("connecting: {0}")]
    Connect(#[from] std::io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the path can't be asked for: {0}")]
    Path(#[from] hyper::http::Error),
    #[error("the answer is {0}")]
    Status(hyper::StatusCode),
    #[error("the answer is more than {MOST_BYTES} bytes, or was cut off")]
    Body,
    #[error("the answer is not text")]
    NotText,
}

/// The body of a successful answer. With `https`, whoever answers is believed: a desktop signs its own certificate, and
/// what makes the answer its own is the address.
pub async fn text(
    address: SocketAddr,
    protocol: Protocol,
    path: &str,
    patience: Duration,
) -> Result<String, FetchError> {
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::new())?;
    timeout(patience, send(address, protocol, request)).await.map_err(|_| FetchError::Slow(patience))?
}

/// The same, over HTTP, from somebody who wants to see a bearer token.
pub async fn text_with_token(
    address: SocketAddr,
    path: &str,
    token: &str,
    patience: Duration,
) -> Result<String, FetchError> {
    let request = Request::get(path).header(HOST, address.to_string()).header(AUTHORIZATION, format!("Bearer {token}"));
    let request = request.body(Empty::new())?;
    timeout(patience, send(address, Protocol::Http, request)).await.map_err(|_| FetchError::Slow(patience))?
}

async fn send(address: SocketAddr, protocol: Protocol, request: Request<Empty<Bytes>>) -> Result<String, FetchError> {
    let stream = TcpStream::connect(address).await?;
    match protocol {
        Protocol::Http => ask(stream, request).await,
        Protocol::Https => {
            let connector = tokio_rustls::TlsConnector::from(Arc::new(any_certificate::client()?));
            ask(connector.connect(address.ip().into(), stream).await?, request).await
        }
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<String, FetchError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(|_| FetchError::Body)?;
        String::from_utf8(body.to_bytes().into()).map_err(|_| FetchError::NotText)
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        // Who answers and hangs up at once has answered.
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(FetchError::Http(error)),
        },
    }
}
