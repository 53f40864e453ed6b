//! What can be set, by flag, environment variable or file. `docs/operations.md` has the same table.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Parser};
use vdi_service::{LogSettings, Reach, settings};

use crate::{allocate::UrlTemplate, probe::ActivityUrl, telemetry::traces::parse_endpoint};

/// Turns VDISessions into GPU desktops.
///
/// Talks to the cluster that KUBECONFIG or ~/.kube/config names, or, inside a pod, to its own.
///
/// Every setting is a flag, an environment variable, or a line of the file that --config names, such as `concurrency: 32`. A
/// flag wins over the environment, and that over the file.
#[derive(Clone, Debug, Parser)]
#[command(name = "vdi-controller", version)]
pub struct Settings {
    /// A YAML file with settings, named as the flags are, without the dashes in front
    #[arg(long, env = "VDI_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The domain below which every desktop gets a host name
    #[arg(long, env = "VDI_DOMAIN", default_value = "vdi.example.com")]
    pub domain: String,

    /// The address of a desktop: a URL with {user} and {domain}, or with {podIP} and {port}
    #[arg(long, env = "VDI_URL_TEMPLATE", value_name = "URL", default_value = UrlTemplate::DEFAULT)]
    pub url_template: UrlTemplate,

    /// The namespace of the gateway's and the controller's pods: nobody else may connect to a desktop
    #[arg(long, env = "VDI_GATEWAY_NAMESPACE", value_name = "NAMESPACE", default_value = "vdiwarden-system")]
    pub gateway_namespace: String,

    /// Where gateways tell when desktops were last used, as http://HOST:PORT/PATH; all addresses of HOST are asked. May be
    /// given several times. Without, no session ends for being idle
    #[arg(long, env = "VDI_ACTIVITY_URL", value_name = "URL", value_delimiter = ',')]
    pub activity_url: Vec<ActivityUrl>,

    /// A file with the bearer token that the gateways want to see there
    #[arg(long, env = "VDI_ACTIVITY_TOKEN_FILE", value_name = "FILE")]
    pub activity_token_file: Option<PathBuf>,

    /// A file with the key that passwords of desktops which ask for one are made with, as the gateways have it; older keys on lines
    /// below it. Without, templates with basicAuth can't be used
    #[arg(long, env = "VDI_LOGIN_KEYS_FILE", value_name = "FILE")]
    pub login_keys_file: Option<PathBuf>,

    #[command(flatten)]
    pub reach: Reach,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "VDI_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// How many sessions are worked on at the same time
    #[arg(long, env = "VDI_CONCURRENCY", value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// Whether replicas agree on one that works, by a Lease. Without, there must never be two
    #[arg(long, env = "VDI_LEADER_ELECT", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub leader_elect: bool,

    /// Where the Lease is. By default the pod's own namespace, or vdiwarden-system outside of a pod
    #[arg(long, env = "VDI_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// What the Lease is named. Replicas with the same name work on the same cluster's sessions in turn
    #[arg(long, env = "VDI_LEASE_NAME", value_name = "NAME", default_value = "vdi-controller")]
    pub lease_name: String,

    /// Where OpenTelemetry traces are sent, by OTLP over HTTP, such as http://collector:4318. By default nowhere
    #[arg(long, env = "VDI_OTLP_ENDPOINT", value_name = "URL", value_parser = parse_endpoint)]
    pub otlp_endpoint: Option<String>,

    #[command(flatten)]
    pub log: LogSettings,
}

impl Settings {
    pub fn lease_namespace(&self) -> String {
        self.lease_namespace.clone().unwrap_or_else(settings::own_namespace)
    }
}

#[cfg(test)]
mod tests;
