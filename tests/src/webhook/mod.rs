//! Serves the policy to an API server, as Kubewarden's policy server does.

mod review;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use self::review::Policy;
use crate::policy::{Capabilities, PolicyHost};

/// An HTTPS server that answers AdmissionReviews (`admission.k8s.io/v1`) at `/validate`. Dropping it stops it.
pub struct Webhook {
    address: SocketAddr,
    /// PEM.
    certificate: String,
    rules: Value,
    handle: Handle<SocketAddr>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Webhook {
    /// Serves on a free port of 127.0.0.1, with a self-signed certificate.
    ///
    /// # Errors
    /// If the settings are invalid, or the server can't be started.
    pub async fn start(host: Arc<PolicyHost>, settings: Value, capabilities: Arc<dyn Capabilities>) -> Result<Self> {
        let answer = host.validate_settings(&settings)?;
        ensure!(answer.valid, "the policy's settings are invalid: {}", answer.message.unwrap_or_default());
        let rules = host.metadata()["rules"].clone();

        let identity = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()])?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der()));
        // Another crate may have installed a different default provider, or none.
        let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![identity.cert.der().clone()], key)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];

        let router = Router::new()
            .route("/validate", post(validate))
            // The API server takes objects of up to 3 MiB; an update carries two.
            .layer(DefaultBodyLimit::max(8 << 20))
            .with_state(Arc::new(Policy { host, settings, capabilities }));
        let handle = Handle::new();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(tls)))?
            .handle(handle.clone())
            .serve(router.into_make_service());
        Ok(Self { address, certificate: identity.cert.pem(), rules, handle, server: tokio::spawn(server) })
    }

    /// `https://127.0.0.1:<port>/validate`
    pub fn url(&self) -> String {
        format!("https://{}/validate", self.address)
    }

    /// The certificate that a client has to trust, as PEM. It is self-signed.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The MutatingWebhookConfiguration for this server and the rules in `metadata.yml`. It fails closed.
    pub fn configuration(&self, name: &str) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": format!("{name}.vdi.kasm.io"),
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": self.url(), "caBundle": BASE64_STANDARD.encode(&self.certificate)},
                "rules": self.rules,
                "failurePolicy": "Fail",
                "matchPolicy": "Equivalent",
                "sideEffects": "None",
                "timeoutSeconds": 10,
            }],
        })
    }

    /// Stops gracefully, after answering open requests.
    ///
    /// # Errors
    /// If the server has failed already.
    pub async fn shutdown(mut self) -> Result<()> {
        self.handle.graceful_shutdown(Some(Duration::from_secs(1)));
        (&mut self.server).await.context("the webhook's task has failed")?.context("the webhook has failed")
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

async fn validate(
    State(policy): State<Arc<Policy>>,
    Json(review): Json<Value>,
) -> Result<Json<Value>, (StatusCode, &'static str)> {
    // A policy is CPU-bound and would block the other connections.
    let answer = tokio::task::spawn_blocking(move || review::answer(&policy, &review)).await;
    match answer {
        Ok(Some(answer)) => Ok(Json(answer)),
        Ok(None) => Err((StatusCode::BAD_REQUEST, "this is no AdmissionReview of admission.k8s.io/v1\n")),
        Err(_) => Err((StatusCode::INTERNAL_SERVER_ERROR, "the policy host has failed\n")),
    }
}
