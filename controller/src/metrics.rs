//! What /metrics serves. What can be counted when asked for is ([`gauges`]), so that it can't drift from what there is; the
//! rest is counted where it happens, by [`Counters`]. No label has more values than there are templates.

mod gauges;

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use vdi_service::{aside::SetAside, process_metrics::Process};

use self::gauges::Gauges;
use crate::{fence::Fence, queue::Queue, reconcile::ReconcileError, stores::Stores};

/// What is counted where it happens. A clone counts together with what it was cloned from.
#[derive(Clone, Debug)]
pub struct Counters {
    reconciles: Family<Outcome, Counter>,
    duration: Histogram,
    starts: Family<ByTemplate, Histogram, fn() -> Histogram>,
    errors: Family<Kind, Counter>,
    requests: Family<Request, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTemplate {
    template: String,
}

/// The step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    resource: String,
    code: &'static str,
}

impl Default for Counters {
    fn default() -> Self {
        fn starts() -> Histogram {
            Histogram::new([1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0])
        }
        let (reconciles, errors) = (Family::<Outcome, Counter>::default(), Family::<Kind, Counter>::default());
        // There from the start: a rate is only known of what was there before.
        for outcome in ["ok", "error"] {
            drop(reconciles.get_or_create(&Outcome { outcome }));
        }
        for kind in ["apply", "publish", "watch"] {
            drop(errors.get_or_create(&Kind { kind }));
        }
        Self {
            reconciles,
            duration: Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]),
            starts: Family::new_with_constructor(starts),
            errors,
            requests: Family::default(),
        }
    }
}

impl Counters {
    pub fn reconciled<T>(&self, result: &Result<T, ReconcileError>, took: Duration) {
        let outcome = if result.is_ok() { "ok" } else { "error" };
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.duration.observe(took.as_secs_f64());
        if let Err(error) = result {
            let kind = match error {
                ReconcileError::Apply(_) => "apply",
                ReconcileError::Publish(_) => "publish",
            };
            self.errors.get_or_create(&Kind { kind }).inc();
        }
    }

    pub fn watch_interrupted(&self) {
        self.errors.get_or_create(&Kind { kind: "watch" }).inc();
    }

    /// A session became Running for the first time.
    pub fn started(&self, template: &str, took: Duration) {
        self.starts.get_or_create(&ByTemplate { template: template.to_owned() }).observe(took.as_secs_f64());
    }

    /// A request was answered, with a status of a class such as `2xx`, or, with `none`, was not.
    pub fn request(&self, verb: &'static str, resource: String, code: &'static str) {
        self.requests.get_or_create(&Request { verb, resource, code }).inc();
    }
}

/// All of it, as a page.
pub struct Metrics(Registry);

impl Metrics {
    pub fn new(counters: Counters, stores: Stores, queue: Arc<Queue>, fence: Fence) -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(Process));
        let ours = all.sub_registry_with_prefix("vdi_controller");
        ours.register_collector(Box::new(SetAside(stores.aside.clone())));
        ours.register_collector(Box::new(Gauges { stores, queue, fence }));
        let Counters { reconciles, duration, starts, errors, requests } = counters;
        ours.register("reconciles", "Passes over a session, by outcome", reconciles);
        let seconds = || Unit::Seconds;
        ours.register_with_unit("reconcile_duration", "How long a pass takes", seconds(), duration);
        let help = "From a session's creation to its first Running, of sessions whose spec was not changed in between";
        ours.register_with_unit("session_start", help, seconds(), starts);
        ours.register("errors", "What failed and is tried again, by step", errors);
        ours.register("api_requests", "Requests to the API server, by class of the status; none: no answer", requests);
        Self(all)
    }

    /// The media type of [`Metrics::encode`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.0)?;
        Ok(page)
    }
}
