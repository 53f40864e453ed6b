//! Logging, to stderr.

use anyhow::Context;
use clap::{Args, ValueEnum};
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, registry::LookupSpan};

/// The settings of the log.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// The format of log lines
    #[arg(long, env = "VDI_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    /// Which log lines to write, in tracing's filter syntax
    #[arg(long, env = "VDI_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Where kube logs each failure of a request or a watch, however often it is tried again. Whoever tries logs it too, and once.
const REPEATED: [&str; 2] = ["kube_client::client::builder", "kube_runtime::watcher"];

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

impl LogSettings {
    /// Installs the process-wide logger.
    ///
    /// # Errors
    /// When `--log` is not a filter.
    pub fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> anyhow::Result<impl Layer<S> + use<S>> {
        let filter = EnvFilter::try_new(&self.log).context("--log is not a log filter")?;
        let off = REPEATED.iter().map(|target| format!("{target}=off").parse());
        let filter = off.collect::<Result<Vec<_>, _>>()?.into_iter().fold(filter, EnvFilter::add_directive);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match self.log_format {
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
            LogFormat::Text => lines.boxed(),
        };
        Ok(lines.with_filter(filter))
    }
}
