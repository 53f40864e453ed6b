//! The settings, by flag, environment variable or file. `docs/operations.md` has the same table.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Parser};
use vdi_service::{LogSettings, Reach, SharedValues, settings};

use crate::{allocate::UrlTemplate, probe::ActivityUrl, telemetry::traces::parse_endpoint};

/// Turns VDISessions into GPU desktops.
///
/// Connects to the cluster in KUBECONFIG or ~/.kube/config, or, inside a pod, to the pod's own.
///
/// Every setting is a flag, an environment variable, or a line in the file given by --config, such as `concurrency: 32`. Flags
/// take precedence over the environment, and the environment over the file.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "vdi-controller",
    version,
    after_help = "`vdi-controller check-installation --help` is about the checks of `helm test`."
)]
pub struct Settings {
    /// A YAML file with settings, named like the flags without the leading dashes
    #[arg(long, env = "VDI_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The domain under which every desktop gets a host name
    #[arg(long, env = "VDI_DOMAIN", default_value = "vdi.example.com")]
    pub domain: String,

    /// The URL of a desktop, with placeholders: either {user} and {domain}, or {podIP} and {port}
    #[arg(long, env = "VDI_URL_TEMPLATE", value_name = "URL", default_value = UrlTemplate::DEFAULT)]
    pub url_template: UrlTemplate,

    /// The namespace of the gateway and controller pods: no other pod may connect to a desktop
    #[arg(long, env = "VDI_GATEWAY_NAMESPACE", value_name = "NAMESPACE", default_value = "vdiwarden-system")]
    pub gateway_namespace: String,

    /// Where gateways report when desktops were last used, as http://HOST:PORT/PATH; every address of HOST is polled. May be
    /// repeated. Without it, no session ends as idle
    #[arg(long, env = "VDI_ACTIVITY_URL", value_name = "URL", value_delimiter = ',')]
    pub activity_url: Vec<ActivityUrl>,

    #[command(flatten)]
    pub shared: SharedValues,

    #[command(flatten)]
    pub reach: Reach,

    /// The address to serve /healthz, /readyz and /metrics on
    #[arg(long, env = "VDI_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// How many sessions to reconcile at the same time
    #[arg(long, env = "VDI_CONCURRENCY", value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// Whether replicas elect a leader through a Lease. If false, only one replica may ever run
    #[arg(long, env = "VDI_LEADER_ELECT", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub leader_elect: bool,

    /// The namespace of its Lease and Secrets. Default: the pod's own, or vdiwarden-system outside a pod
    #[arg(long, env = "VDI_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// The name of the Lease. Replicas that share it take turns as the leader
    #[arg(long, env = "VDI_LEASE_NAME", value_name = "NAME", default_value = "vdi-controller")]
    pub lease_name: String,

    /// Where to send OpenTelemetry traces, by OTLP over HTTP, such as http://collector:4318. Default: nowhere
    #[arg(long, env = "VDI_OTLP_ENDPOINT", value_name = "URL", value_parser = parse_endpoint)]
    pub otlp_endpoint: Option<String>,

    #[command(flatten)]
    pub log: LogSettings,
}

impl Settings {
    pub fn namespace(&self) -> String {
        self.namespace.clone().unwrap_or_else(settings::own_namespace)
    }
}

#[cfg(test)]
mod tests;
