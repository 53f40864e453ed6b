//! One GET of one short text from one address: no redirects, no names that lead elsewhere.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use vdi_api::Protocol;

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
    timeout(patience, get(address, protocol, path)).await.map_err(|_| FetchError::Slow(patience))?
}

async fn get(address: SocketAddr, protocol: Protocol, path: &str) -> Result<String, FetchError> {
    let stream = TcpStream::connect(address).await?;
    match protocol {
        Protocol::Http => ask(stream, address, path).await,
        Protocol::Https => {
            let connector = tokio_rustls::TlsConnector::from(Arc::new(any_certificate()?));
            ask(connector.connect(address.ip().into(), stream).await?, address, path).await
        }
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    path: &str,
) -> Result<String, FetchError> {
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(|_| FetchError::Body)?;
        String::from_utf8(body.to_bytes().into()).map_err(|_| FetchError::NotText)
    };
    tokio::pin!(connection);
    tokio::select! {
        answer = answer => answer,
        ended = &mut connection => Err(ended.err().map_or(FetchError::Body, FetchError::Http)),
    }
}

fn any_certificate() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
    Ok(config.with_no_client_auth())
}

/// Holds the peer to the key of its certificate, whoever signed that.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
