//! A registry as the page that Prometheus scrapes, in the [OpenMetrics text format].
//!
//! [OpenMetrics text format]: https://prometheus.io/docs/specs/om/open_metrics_spec/#text-format

use std::fmt;

use prometheus_client::{encoding::text, registry::Registry};

/// The media type of [`encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub fn encode(registry: &Registry) -> Result<String, fmt::Error> {
    let mut page = String::new();
    text::encode(&mut page, registry)?;
    Ok(page)
}
