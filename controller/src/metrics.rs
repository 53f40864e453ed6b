//! What /metrics serves.

use std::{collections::HashMap, fmt, time::Duration};

use kube::runtime::reflector::Store;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use vdi_api::{Phase, VDISession};

pub struct Metrics {
    registry: Registry,
    reconciles: Family<Outcome, Counter>,
    duration: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Metrics {
    pub fn new(sessions: Store<VDISession>) -> Self {
        let mut registry = Registry::with_prefix("vdi_controller");
        let reconciles = Family::<Outcome, Counter>::default();
        let duration = Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]);
        registry.register("reconciles", "Passes over a session, by outcome", reconciles.clone());
        registry.register_with_unit("reconcile_duration", "How long a pass takes", Unit::Seconds, duration.clone());
        registry.register_collector(Box::new(SessionsByPhase(sessions)));
        Self { registry, reconciles, duration }
    }

    pub fn reconciled(&self, is_ok: bool, took: Duration) {
        let outcome = if is_ok { "ok" } else { "error" };
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// In the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

/// Counted when asked, so that it can't drift from what there is.
#[derive(Debug)]
struct SessionsByPhase(Store<VDISession>);

impl Collector for SessionsByPhase {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        const PHASES: [Phase; 5] = [Phase::Pending, Phase::Creating, Phase::Running, Phase::Terminating, Phase::Failed];
        let mut counts: HashMap<Phase, i64> = PHASES.into_iter().map(|phase| (phase, 0)).collect();
        for session in self.0.state() {
            *counts.entry(session.status.as_ref().map_or(Phase::Pending, |status| status.phase)).or_default() += 1;
        }
        let help = "Sessions that exist, by phase";
        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut metric = encoder.encode_descriptor("sessions", help, None, kind)?;
        for phase in PHASES {
            let labels = [("phase", format!("{phase:?}"))];
            ConstGauge::new(counts[&phase]).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
