//! Log lines, on stderr.

use anyhow::Context;
use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, registry::LookupSpan};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

impl LogFormat {
    /// Writes the lines that `filter` lets through, in tracing's syntax.
    pub fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(self, filter: &str) -> anyhow::Result<impl Layer<S> + use<S>> {
        let filter = EnvFilter::try_new(filter).context("--log is not a log filter")?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match self {
            Self::Json => lines.json().flatten_event(true).boxed(),
            Self::Text => lines.boxed(),
        };
        Ok(lines.with_filter(filter))
    }
}
