use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// What is counted where it happens. Clones share their counts.
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
        // Present from the start: there is no rate of a series that has just begun.
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
    /// A pass took this long, and failed in this step, if any.
    pub fn reconciled(&self, failed_step: Option<&'static str>, took: Duration) {
        let outcome = if failed_step.is_none() { "ok" } else { "error" };
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.duration.observe(took.as_secs_f64());
        if let Some(kind) = failed_step {
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

    /// A request was answered with a status of a class such as `2xx`, or, with `none`, not answered.
    pub fn request(&self, verb: &'static str, resource: String, code: &'static str) {
        self.requests.get_or_create(&Request { verb, resource, code }).inc();
    }

    pub fn register(self, registry: &mut Registry) {
        let Counters { reconciles, duration, starts, errors, requests } = self;
        registry.register("reconciles", "Passes over a session, by outcome", reconciles);
        let seconds = || Unit::Seconds;
        registry.register_with_unit("reconcile_duration", "How long a pass takes", seconds(), duration);
        let help = "From a session's creation to its first Running, of sessions whose spec was not changed in between";
        registry.register_with_unit("session_start", help, seconds(), starts);
        registry.register("errors", "What failed and is tried again, by step", errors);
        registry.register(
            "api_requests",
            "Requests to the API server, by class of the status; none: no answer",
            requests,
        );
    }
}
