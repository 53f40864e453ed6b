//! The HTTP client for the provider: verified TLS, limits, and no redirects.

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
use vdi_service::files;

use super::address::is_trusted;

/// For one request, up to the end of its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// In bytes: more than any provider's keys take.
pub(super) const LONGEST: usize = 1 << 20;

#[derive(Clone)]
pub struct HttpClient(legacy::Client<HttpsConnector<HttpConnector>, Body>);

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{}", files::problem(.0, .1))]
    Read(PathBuf, io::Error),
    #[error("{0} has no PEM certificate")]
    NoCertificate(PathBuf),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("refusing to call {0}, which is neither https nor on this machine")]
    NotTrusted(Uri),
    #[error("no answer within {PATIENCE:?}")]
    Slow,
    #[error("{0}")]
    Client(#[from] legacy::Error),
    #[error("the answer has more than {LONGEST} bytes, or was cut off")]
    Body,
}

impl HttpClient {
    /// Trusts the system's certificate authorities, and those in `authority`, a PEM file.
    pub fn new(authority: Option<&Path>) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if let Some(path) = authority {
            let pem = std::fs::read(path).map_err(|error| CertificateError::Read(path.to_owned(), error))?;
            let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
            let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
            for certificate in certificates.ok_or_else(|| CertificateError::NoCertificate(path.to_owned()))? {
                roots.add(certificate)?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let tls = tls.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // A new connection for each request: one from a pool may just be closing, and a code must not be sent twice.
        Ok(Self(legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)))
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        // Most addresses come from the provider itself, and whoever answers at one of them says who has signed in.
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
