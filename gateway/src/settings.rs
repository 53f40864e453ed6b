//! What can be set, by flag, environment variable or file. `docs/gateway.md` has the same table.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Result, ensure};
use clap::Parser;
use ipnet::IpNet;
use vdi_api::Timeout;
use vdi_gateway::{
    serve::certificate::Files,
    site::{PublicUrl, Scheme},
};
use vdi_service::{LogFormat, settings};

/// Lets the owner of a desktop in, and nobody else.
///
/// Talks to the cluster that KUBECONFIG or ~/.kube/config names, or, inside a pod, to its own.
///
/// Every setting is a flag, an environment variable, or a line of the file that --config names, such as `log-format: text`. A
/// flag wins over the environment, and that over the file.
#[derive(Clone, Debug, Parser)]
#[command(name = "vdi-gateway", version)]
pub struct Settings {
    /// A YAML file with settings, named as the flags are, without the dashes in front
    #[arg(long, env = "VDI_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where browsers reach this gateway. Desktops are one label below, so DNS and certificate have to cover *.HOST too
    #[arg(long, env = "VDI_PUBLIC_URL", value_name = "URL", default_value = "https://vdi.example.com")]
    pub public_url: PublicUrl,

    /// Where browsers are served
    #[arg(long, env = "VDI_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// The certificate to show browsers, and those that vouch for it, as PEM. Read again when it changes
    #[arg(long, env = "VDI_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key, as PEM
    #[arg(long, env = "VDI_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Serve browsers without TLS at an address that is not loopback: only behind a proxy that has TLS, on a network where
    /// nobody listens
    #[arg(long, env = "VDI_INSECURE_HTTP")]
    pub insecure_http: bool,

    /// Where /healthz, /readyz, /metrics, /activity and /check are served, within the cluster
    #[arg(long, env = "VDI_OPERATIONS_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub operations_listen: SocketAddr,

    /// A file with the bearer token that the controller shows at /activity. Without, nobody is told
    #[arg(long, env = "VDI_ACTIVITY_TOKEN_FILE", value_name = "FILE")]
    pub activity_token_file: Option<PathBuf>,

    /// The networks that pods have their addresses in; requests are sent nowhere else. Without, anywhere but to loopback and
    /// link-local addresses
    #[arg(long, env = "VDI_POD_CIDR", value_name = "CIDR", value_delimiter = ',')]
    pub pod_cidr: Vec<IpNet>,

    /// The namespace of this gateway's Secret and Leases. By default the pod's own, or vdiwarden-system outside of a pod
    #[arg(long, env = "VDI_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// The Secret that replicas share their signing keys in
    #[arg(long, env = "VDI_KEYS_SECRET", value_name = "NAME", default_value = "vdi-gateway-keys")]
    pub keys_secret: String,

    /// For how long a key signs before the next one does
    #[arg(long, env = "VDI_KEY_ROTATION", value_name = "DURATION", default_value = "24h")]
    pub key_rotation: Timeout,

    /// The audience that a Kubernetes token shown at /launch must be for
    #[arg(long, env = "VDI_TOKEN_AUDIENCE", value_name = "AUDIENCE", default_value = "vdi-gateway")]
    pub token_audience: String,

    /// For how long new requests are still let in by what was known when the API server was lost
    #[arg(long, env = "VDI_CACHE_LIMIT", value_name = "DURATION", default_value = "2m")]
    pub cache_limit: Timeout,

    /// How long open connections may go on once this gateway is told to stop
    #[arg(long, env = "VDI_DRAIN", value_name = "DURATION", default_value = "20s")]
    pub drain: Timeout,

    /// How log lines are written
    #[arg(long, env = "VDI_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    /// Which log lines are written, in tracing's filter syntax
    #[arg(long, env = "VDI_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

impl Settings {
    /// What is wrong with them ends the process, and is said, as clap does it.
    pub fn load() -> Self {
        settings::load(std::env::args_os().collect()).unwrap_or_else(|error| error.exit())
    }

    /// `None` where there is to be no TLS, which is refused where others might listen.
    pub fn certificate(&self) -> Result<Option<Files>> {
        if let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) {
            ensure!(self.public_url.scheme() == Scheme::Https, "--public-url has to be https, as there is --tls-cert");
            return Ok(Some(Files { certificate, key }));
        }
        ensure!(
            self.insecure_http || self.listen.ip().is_loopback(),
            "no TLS: set --tls-cert and --tls-key, or listen on loopback, or say --insecure-http behind a proxy that has TLS"
        );
        Ok(None)
    }

    pub fn namespace(&self) -> String {
        self.namespace.clone().unwrap_or_else(settings::own_namespace)
    }
}
