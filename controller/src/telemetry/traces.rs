//! OpenTelemetry traces, off by default: a span for each pass over a session, and in it one for each request to the API server. Spans
//! have level debug, log lines info, so spans don't change the log.

use std::time::Duration;

use anyhow::Context;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    runtime::Tokio,
    trace::{SdkTracerProvider, span_processor_with_async_runtime::BatchSpanProcessor},
};
use tracing::Subscriber;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// The time limit of a batch of spans, and so the longest delay of the process's end.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Sends spans in the background, by OTLP over HTTP. If the collector can't be reached, only spans are lost.
pub fn provider(endpoint: &str, identity: &str) -> anyhow::Result<SdkTracerProvider> {
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_endpoint(url);
    let exporter = exporter.with_timeout(TIMEOUT).build().context("preparing to send traces")?;
    let attributes = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", identity.to_owned()),
    ];
    let resource = Resource::builder().with_service_name("vdi-controller").with_attributes(attributes).build();
    let batches = BatchSpanProcessor::builder(exporter, Tokio).build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_span_processor(batches).build())
}

/// Only this program's spans: the exporter makes requests too.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S> {
    let ours = filter_fn(|about| about.is_span() && about.target().starts_with("vdi_controller"));
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("vdi-controller"));
    layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false).with_filter(ours)
}

/// Sends the remaining spans.
pub async fn finish(provider: SdkTracerProvider) {
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || provider.shutdown()).await {
        tracing::warn!(%error, "the last traces could not be sent");
    }
}

/// A setting: where an OTLP receiver listens.
pub fn parse_endpoint(text: &str) -> Result<String, String> {
    match text.strip_prefix("http://").is_some_and(|rest| !rest.is_empty()) && text.parse::<http::Uri>().is_ok() {
        true => Ok(text.to_owned()),
        false => {
            Err("a URL such as http://collector:4318 is expected; for TLS, put a collector next to the controller"
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_plain_http_url() {
        for (text, is_valid) in [
            ("http://collector:4318", true),
            ("http://127.0.0.1:4318/", true),
            ("https://collector:4318", false),
            ("collector:4318", false),
            ("http://", false),
            ("http://a b", false),
        ] {
            assert_eq!(parse_endpoint(text).is_ok(), is_valid, "{text}");
        }
    }
}
