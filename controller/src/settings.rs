use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use crate::{activity::ActivityUrl, url::UrlTemplate};

/// Turns VDISessions into GPU desktops.
///
/// Talks to the cluster that KUBECONFIG or ~/.kube/config names, or, inside a pod, to its own.
#[derive(Clone, Debug, Parser)]
#[command(name = "vdi-controller", version)]
pub struct Settings {
    /// The domain below which every desktop gets a host name
    #[arg(long, env = "VDI_DOMAIN", default_value = "vdi.example.com")]
    pub domain: String,

    /// The address of a desktop: a URL with {user} and {domain}, or with {podIP} and {port}
    #[arg(long, env = "VDI_URL_TEMPLATE", default_value = UrlTemplate::DEFAULT)]
    pub url_template: UrlTemplate,

    /// The namespace of the gateway's and the controller's pods: nobody else may connect to a desktop
    #[arg(long, env = "VDI_GATEWAY_NAMESPACE", default_value = "vdiwarden-system")]
    pub gateway_namespace: String,

    /// Where gateways tell when desktops were last used, as http://HOST:PORT/PATH; all addresses of HOST are asked. May be
    /// given several times. Without, no session ends for being idle
    #[arg(long, env = "VDI_ACTIVITY_URL", value_delimiter = ',')]
    pub activity_url: Vec<ActivityUrl>,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "VDI_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// How many sessions are worked on at the same time
    #[arg(long, env = "VDI_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// How log lines are written
    #[arg(long, env = "VDI_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    /// Which log lines are written, in tracing's filter syntax
    #[arg(long, env = "VDI_LOG", default_value = "info")]
    pub log: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}
