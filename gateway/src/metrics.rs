//! What `/metrics` serves. All label values are listed here, so their number is bounded.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use vdi_service::{Aside, aside::SetAside, metrics_page, process_metrics::Process};

use crate::{access::DenyReason, sessions::Directory, token::TokenError};

pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    duration: Histogram,
    refusals: Family<Reason, Counter>,
    sign_ins: Family<Method, Counter>,
    pub tunnels: Tunnels,
    /// Connections that were closed because too many were open.
    pub connections_refused: Counter,
}

/// Open tunnels, and the bytes through them. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Tunnels {
    pub open: Gauge,
    pub bytes: Family<Direction, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Direction {
    pub from: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    by: &'static str,
}

impl Metrics {
    pub fn new(directory: Arc<Directory>, aside: Arc<Aside>) -> Self {
        let duration = Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]);
        let (requests, refusals, sign_ins) = (Family::default(), Family::default(), Family::default());
        let tunnels = Tunnels::default();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let ours = registry.sub_registry_with_prefix("vdi_gateway");
        ours.register_collector(Box::new(DirectoryCollector(directory)));
        ours.register_collector(Box::new(SetAside(aside)));
        ours.register("requests", "Requests answered, by status class", Family::clone(&requests));
        let help = "Time until the answer starts, including the desktop's own time";
        ours.register_with_unit("request_duration", help, Unit::Seconds, duration.clone());
        ours.register("refusals", "Requests that were denied, by reason", Family::clone(&refusals));
        ours.register("sign_ins", "Browsers signed in, by method", Family::clone(&sign_ins));
        ours.register("websockets", "Open websockets and other upgraded connections", tunnels.open.clone());
        let help = "Bytes through upgraded connections, by sender";
        ours.register_with_unit("websocket", help, Unit::Bytes, tunnels.bytes.clone());
        let connections_refused = Counter::default();
        let help = "Connections closed at once because --max-connections were open";
        ours.register("connections_refused", help, connections_refused.clone());
        let metrics = Self { registry, requests, duration, refusals, sign_ins, tunnels, connections_refused };
        metrics.begin();
        metrics
    }

    /// Every series exists from the start: a rate needs a value before the first increment.
    fn begin(&self) {
        for code in CLASSES {
            drop(self.requests.get_or_create(&Request { code }));
        }
        for from in ["browser", "desktop"] {
            drop(self.tunnels.bytes.get_or_create(&Direction { from }));
        }
        for by in ["launch", "oidc"] {
            drop(self.sign_ins.get_or_create(&Method { by }));
        }
    }

    pub fn answered(&self, status: StatusCode, took: Duration) {
        self.requests.get_or_create(&Request { code: class(status) }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub fn denied(&self, reason: DenyReason) {
        self.refusals.get_or_create(&Reason { reason: label(reason) }).inc();
    }

    pub fn signed_in(&self, by: &'static str) {
        self.sign_ins.get_or_create(&Method { by }).inc();
    }

    /// As a page of the type [`metrics_page::CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, fmt::Error> {
        metrics_page::encode(&self.registry)
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

fn class(status: StatusCode) -> &'static str {
    CLASSES[usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1]
}

fn label(reason: DenyReason) -> &'static str {
    match reason {
        DenyReason::NoToken => "no_token",
        DenyReason::NoSession => "no_session",
        DenyReason::NotTheOwner => "not_the_owner",
        DenyReason::CrossOrigin => "cross_origin",
        DenyReason::UsedCode => "used_code",
        DenyReason::NotBegun => "not_begun",
        DenyReason::Token(error) => match error {
            TokenError::TooLong => "token_too_long",
            TokenError::Malformed => "token_malformed",
            TokenError::Header => "token_header",
            TokenError::UnknownKey => "token_unknown_key",
            TokenError::Signature => "token_signature",
            TokenError::Claims => "token_claims",
            TokenError::Issuer => "token_issuer",
            TokenError::Audience => "token_audience",
            TokenError::Host => "token_host",
            TokenError::NotYet => "token_not_yet",
            TokenError::Expired => "token_expired",
            TokenError::TooLongLived => "token_too_long_lived",
        },
    }
}

/// What can be read off the directory at each scrape.
#[derive(Debug)]
struct DirectoryCollector(Arc<Directory>);

impl Collector for DirectoryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "Sessions with a host at this gateway";
        let metric = encoder.encode_descriptor("sessions", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(self.0.count()).unwrap_or(i64::MAX)).encode(metric)?;
        let help =
            "Age of the data that decisions are made from: zero while the watches of sessions and pods are healthy";
        let metric = encoder.encode_descriptor("cache_age", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(self.0.freshness.age(std::time::Instant::now()).as_secs_f64()).encode(metric)
    }
}
