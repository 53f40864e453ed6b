use std::{fmt, sync::Arc};

use prometheus_client::registry::Registry;
use vdi_service::{aside::SetAside, metrics_page, process_metrics::Process};

use super::gauges::Gauges;
use crate::{
    apiserver::WriteGate,
    cache::{Stores, Workqueue},
    telemetry::Counters,
};

/// What /metrics serves: [`Counters`], and [`Gauges`] that are computed when they are asked for, so that they can't drift. No label has
/// more values than there are templates.
pub struct Metrics(Registry);

impl Metrics {
    pub fn new(counters: Counters, stores: Stores, queue: Arc<Workqueue>, write_gate: WriteGate) -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(Process));
        let ours = all.sub_registry_with_prefix("vdi_controller");
        ours.register_collector(Box::new(SetAside(stores.aside.clone())));
        ours.register_collector(Box::new(Gauges { stores, queue, write_gate }));
        counters.register(ours);
        Self(all)
    }

    pub fn encode(&self) -> Result<String, fmt::Error> {
        metrics_page::encode(&self.0)
    }
}
