//! How the provider is asked: over TLS that is verified, within limits, without following redirects.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use openidconnect::AsyncHttpClient;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::time::timeout;

use super::address::is_trusted;

/// Of one request, from its beginning to the end of its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// More than any provider's keys.
pub(super) const LONGEST: usize = 1 << 20;

#[derive(Clone)]
pub struct HttpClient(legacy::Client<HttpsConnector<HttpConnector>, Body>);

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificates that this machine trusts can't be read: {0}")]
    Native(io::Error),
    #[error("{0}: {1}")]
    Read(PathBuf, rustls::pki_types::pem::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("it would be asked at {0}, which is neither https nor on this machine")]
    NotTrusted(Uri),
    #[error("no answer within {PATIENCE:?}")]
    Slow,
    #[error("{0}")]
    Client(#[from] legacy::Error),
    #[error("its answer is more than {LONGEST} bytes, or was cut off")]
    Body,
}

impl HttpClient {
    /// One that trusts whom this machine trusts, and besides the authority in `authority`, a PEM file.
    pub fn new(authority: Option<&Path>) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if let Some(path) = authority {
            let wrong = |error| CertificateError::Read(path.to_owned(), error);
            for certificate in CertificateDer::pem_file_iter(path).map_err(wrong)? {
                roots.add(certificate.map_err(wrong)?)?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let tls = tls.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // A connection of its own for each request: one that is kept may just be closing, and a code is not sent twice.
        Ok(Self(legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)))
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        // The provider says where most of its addresses are, and whoever answers at one says who has signed in.
        let uri = request.uri();
        if !is_trusted(uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default()) {
            return Err(HttpError::NotTrusted(uri.clone()));
        }
        let answer = async {
            let (head, body) = self.0.request(request.map(Body::from)).await?.into_parts();
            let body = Limited::new(body, LONGEST).collect().await.map_err(|_| HttpError::Body)?;
            Ok(Response::from_parts(head, body.to_bytes().into()))
        };
        timeout(PATIENCE, answer).await.map_err(|_| HttpError::Slow)?
    }
}

impl<'c> AsyncHttpClient<'c> for HttpClient {
    type Error = HttpError;
    type Future = BoxFuture<'c, Result<Response<Vec<u8>>, HttpError>>;

    fn call(&'c self, request: Request<Vec<u8>>) -> Self::Future {
        self.send(request).boxed()
    }
}
