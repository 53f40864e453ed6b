//! What /metrics serves. No label has more values than are written here.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use vdi_service::{Aside, aside::SetAside, process_metrics::Process};

use crate::{decide::Why, directory::Directory, token::Refused};

pub struct Metrics {
    all: Registry,
    requests: Family<Request, Counter>,
    duration: Histogram,
    refusals: Family<Reason, Counter>,
    sign_ins: Family<By, Counter>,
    pub tunnels: Tunnels,
    /// Connections that were closed, as there were too many.
    pub connections_refused: Counter,
}

/// What is open, and what goes through it. A clone counts together with what it was cloned from.
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
struct By {
    by: &'static str,
}

impl Metrics {
    pub fn new(directory: Arc<Directory>, aside: Arc<Aside>) -> Self {
        let duration = Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]);
        let (requests, refusals, sign_ins) = (Family::default(), Family::default(), Family::default());
        let tunnels = Tunnels::default();
        let mut all = Registry::default();
        all.register_collector(Box::new(Process));
        let ours = all.sub_registry_with_prefix("vdi_gateway");
        ours.register_collector(Box::new(Known(directory)));
        ours.register_collector(Box::new(SetAside(aside)));
        ours.register("requests", "Requests answered, by class of the status", Family::clone(&requests));
        let help = "How long it takes until an answer begins, the desktop's own time included";
        ours.register_with_unit("request_duration", help, Unit::Seconds, duration.clone());
        ours.register("refusals", "Requests that were not let in, by reason", Family::clone(&refusals));
        ours.register("sign_ins", "Browsers that were signed in, by how", Family::clone(&sign_ins));
        ours.register("websockets", "Websockets, and other changed protocols, that are open", tunnels.open.clone());
        let help = "What went through them, by where it came from";
        ours.register_with_unit("websocket", help, Unit::Bytes, tunnels.bytes.clone());
        let connections_refused = Counter::default();
        let help = "Connections that were closed at once, as there were --max-connections already";
        ours.register("connections_refused", help, connections_refused.clone());
        let metrics = Self { all, requests, duration, refusals, sign_ins, tunnels, connections_refused };
        metrics.begin();
        metrics
    }

    /// There from the start: a rate is only known of what was there before.
    fn begin(&self) {
        for code in CLASSES {
            drop(self.requests.get_or_create(&Request { code }));
        }
        for from in ["browser", "desktop"] {
            drop(self.tunnels.bytes.get_or_create(&Direction { from }));
        }
        for by in ["launch", "oidc"] {
            drop(self.sign_ins.get_or_create(&By { by }));
        }
    }

    pub fn answered(&self, status: StatusCode, took: Duration) {
        self.requests.get_or_create(&Request { code: class(status) }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub fn refused(&self, why: Why) {
        self.refusals.get_or_create(&Reason { reason: reason(why) }).inc();
    }

    pub fn signed_in(&self, by: &'static str) {
        self.sign_ins.get_or_create(&By { by }).inc();
    }

    /// The media type of [`Metrics::encode`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.all)?;
        Ok(page)
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

fn class(status: StatusCode) -> &'static str {
    CLASSES[usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1]
}

fn reason(why: Why) -> &'static str {
    match why {
        Why::NoToken => "no_token",
        Why::NoSession => "no_session",
        Why::NotTheOwner => "not_the_owner",
        Why::CrossOrigin => "cross_origin",
        Why::UsedCode => "used_code",
        Why::NotBegun => "not_begun",
        Why::Token(refused) => match refused {
            Refused::TooLong => "token_too_long",
            Refused::Malformed => "token_malformed",
            Refused::Header => "token_header",
            Refused::UnknownKey => "token_unknown_key",
            Refused::Signature => "token_signature",
            Refused::Claims => "token_claims",
            Refused::Issuer => "token_issuer",
            Refused::Audience => "token_audience",
            Refused::Host => "token_host",
            Refused::NotYet => "token_not_yet",
            Refused::Expired => "token_expired",
            Refused::TooLongLived => "token_too_long_lived",
        },
    }
}

/// What can be counted when asked for.
#[derive(Debug)]
struct Known(Arc<Directory>);

impl Collector for Known {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "Sessions with a host here";
        let metric = encoder.encode_descriptor("sessions", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(self.0.count()).unwrap_or(i64::MAX)).encode(metric)?;
        let help = "How long ago the older of the watches of sessions and pods was last heard, or zero";
        let metric = encoder.encode_descriptor("cache_age", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(self.0.freshness.age(std::time::Instant::now()).as_secs_f64()).encode(metric)
    }
}
