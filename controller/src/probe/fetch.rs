//! One GET of one short text from one address: no redirects, no host names.

use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Uri, body::Bytes, header::AUTHORIZATION};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;
use vdi_api::Protocol;
use vdi_service::any_certificate;

/// More than a line of text, or the activity of some ten thousand sessions.
const MOST_BYTES: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no answer within {0:?}")]
    Slow(Duration),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{}", innermost(.0))]
    Request(#[from] hyper_util::client::legacy::Error),
    #[error("the path can't be requested: {0}")]
    Path(#[from] hyper::http::Error),
    #[error("the answer is {0}")]
    Status(hyper::StatusCode),
    #[error("the answer is more than {MOST_BYTES} bytes, or was cut off")]
    Body,
    #[error("the answer is not text")]
    NotText,
}

/// The body of a successful answer. With `https`, any certificate is accepted: desktops sign their own, and the address says whose
/// answer it is.
pub async fn text(
    address: SocketAddr,
    protocol: Protocol,
    path: &str,
    patience: Duration,
) -> Result<String, FetchError> {
    send(Request::get(url(address, protocol, path)?).body(Empty::new())?, patience).await
}

/// The same, over HTTP, from a server that expects a bearer token.
pub async fn text_with_token(
    address: SocketAddr,
    path: &str,
    token: &str,
    patience: Duration,
) -> Result<String, FetchError> {
    let request = Request::get(url(address, Protocol::Http, path)?).header(AUTHORIZATION, format!("Bearer {token}"));
    send(request.body(Empty::new())?, patience).await
}

/// Put together from its parts: a path such as `@example.com` must not become part of the authority.
fn url(address: SocketAddr, protocol: Protocol, path: &str) -> Result<Uri, hyper::http::Error> {
    Uri::builder().scheme(protocol.to_string().as_str()).authority(address.to_string()).path_and_query(path).build()
}

async fn send(request: Request<Empty<Bytes>>, patience: Duration) -> Result<String, FetchError> {
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(any_certificate::client()?).https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let answer = async {
        let response = client.request(request).await?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(|_| FetchError::Body)?;
        String::from_utf8(body.to_bytes().into()).map_err(|_| FetchError::NotText)
    };
    timeout(patience, answer).await.map_err(|_| FetchError::Slow(patience))?
}

/// The cause that says something: hyper's own message is only which step failed.
fn innermost(error: &dyn std::error::Error) -> &dyn std::error::Error {
    error.source().map_or(error, innermost)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A server's last answer comes so.
    #[tokio::test]
    async fn an_answer_counts_although_the_connection_closes_right_behind_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        });
        for _ in 0..200 {
            let text = text(address, Protocol::Http, "/", Duration::from_secs(10)).await;
            assert_eq!(text.unwrap(), "ok");
        }
    }

    #[tokio::test]
    async fn no_path_leads_to_another_address() {
        let (asked, other) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let elsewhere = other.local_addr().unwrap();
        for path in [
            format!("@{elsewhere}/"),
            format!("http://{elsewhere}/"),
            format!("//{elsewhere}/"),
            format!("/@{elsewhere}"),
        ] {
            let address = asked.local_addr().unwrap();
            let text = text(address, Protocol::Http, &path, Duration::from_millis(100));
            assert!(text.await.is_err(), "nobody answers");
            assert!(other.accept().now_or_never().is_none(), "{path}");
        }
    }
}
