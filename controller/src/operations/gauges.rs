use std::{collections::BTreeMap, fmt};

use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};
use vdi_api::{Phase, VDISession, desktop_pod::pod_name};

use crate::{
    apiserver::WriteGate,
    cache::{Stores, Workqueue},
};

/// What can be computed from the stores and the queue.
#[derive(Debug)]
pub struct Gauges {
    pub stores: Stores,
    pub queue: std::sync::Arc<Workqueue>,
    pub write_gate: WriteGate,
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut sessions = BTreeMap::<_, i64>::new();
        let (mut requested, mut in_use) = (BTreeMap::<_, i64>::new(), BTreeMap::<_, i64>::new());
        let templates: Vec<String> = self.stores.templates.state().iter().map(|template| template.name_any()).collect();
        // With zeros, so that no series ends.
        for template in &templates {
            for phase in [Phase::Pending, Phase::Creating, Phase::Running, Phase::Terminating, Phase::Failed] {
                sessions.insert((template.as_str(), format!("{phase:?}")), 0);
            }
            requested.insert(template.as_str(), 0);
            in_use.insert(template.as_str(), 0);
        }
        for session in self.stores.sessions.state() {
            // Users choose the name, and Prometheus keeps every label value.
            let name = |template: &&String| **template == session.spec.template;
            let template = templates.iter().find(name).map_or("unknown", String::as_str);
            let phase = phase(&session);
            *sessions.entry((template, format!("{phase:?}"))).or_default() += 1;
            let gpus = i64::from(session.spec.resources.gpu);
            let wants = matches!(phase, Phase::Pending | Phase::Creating | Phase::Running) && !session.spec.suspend;
            *requested.entry(template).or_default() += if wants { gpus } else { 0 };
            *in_use.entry(template).or_default() += if self.has_node(&session) { gpus } else { 0 };
        }

        let by_template = |map: BTreeMap<_, _>| map.into_iter().map(|(t, n)| ([("template", t)], n)).collect();
        let phases = sessions.into_iter();
        let phases = phases.map(|((template, phase), n)| ([("template", template.to_owned()), ("phase", phase)], n));
        family(&mut encoder, "sessions", "Sessions that exist, by template and phase", phases.collect())?;
        let help = "GPUs requested by sessions that run or are to run";
        family(&mut encoder, "gpus_requested", help, by_template(requested))?;
        let help = "GPUs held by sessions' pods, from when they have a node until they have ended";
        family(&mut encoder, "gpus_in_use", help, by_template(in_use))?;
        let depth = i64::try_from(self.queue.depth()).unwrap_or(i64::MAX);
        one(&mut encoder, "queue_depth", "Sessions waiting for a pass", depth)?;
        one(&mut encoder, "leader", "1 while this replica may write, else 0", i64::from(self.write_gate.is_open()))
    }
}

impl Gauges {
    fn has_node(&self, session: &VDISession) -> bool {
        let key = ObjectRef::new(&pod_name(&session.name_any())).within(&session.namespace().unwrap_or_default());
        let Some(pod) = self.stores.pods.get(&key) else { return false };
        session.meta().uid.as_ref().is_some_and(|uid| pod.belongs_to(uid)) && !pod.has_ended && pod.node.is_some()
    }
}

fn phase(session: &VDISession) -> Phase {
    session.status.as_ref().map_or(Phase::Pending, |status| status.phase)
}

fn family(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: Vec<(impl EncodeLabelSet, i64)>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

pub fn one(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: impl EncodeGaugeValue,
) -> Result<(), fmt::Error> {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
