use std::{collections::BTreeMap, str::FromStr};

use k8s_openapi::api::core::v1::{Node, Taint};
use vdi_planner::model::{GpuSource, Spec, Template};

use super::lookup::lookup_by_name;

/// What a node could hold if it were empty. A pod that is too large for every node waits for a larger one, and must not hold up
/// others.
#[derive(Clone, Debug)]
pub struct NodeSize {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// Quantities that all of its pods can have together, by resource.
    pub allocatable: BTreeMap<String, String>,
}

impl NodeSize {
    pub fn is_selected_by(&self, template: &Template) -> bool {
        template.node_selector.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }

    /// Whether a session's pod would fit if it were alone here. A node doesn't say how many devices there are to claim.
    pub fn could_hold(&self, spec: &Spec, template: &Template) -> bool {
        let has_gpus = match &template.gpu {
            GpuSource::ExtendedResource(name) => {
                let gpus = self.allocatable.get(name).map_or(Some(0), |gpus| gpus.parse::<u32>().ok());
                gpus.is_none_or(|gpus| gpus >= spec.gpus.get())
            }
            GpuSource::ClaimTemplate(_) => true,
        };
        let has_cpu = template.cpu_request.is_none_or(|cpu| self.has("cpu", cpu));
        has_gpus && has_cpu && self.has("memory", spec.memory)
    }

    /// A quantity that can't be parsed counts as enough: the scheduler decides then.
    fn has<T: FromStr + Ord>(&self, resource: &str, amount: T) -> bool {
        self.allocatable.get(resource).and_then(|there| there.parse().ok()).is_none_or(|there: T| there >= amount)
    }
}

lookup_by_name!(NodeSize, Node, |_| None);

#[cfg(test)]
mod tests {
    use vdi_planner::fixture;

    use super::*;

    fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn node(allocatable: &[(&str, &str)]) -> NodeSize {
        let labels = strings(&[("gpu", "yes")]);
        NodeSize { name: "gpu-1".to_owned(), labels, taints: Vec::new(), allocatable: strings(allocatable) }
    }

    #[test]
    fn a_pod_fits_where_a_free_node_has_what_it_asks_for_and_what_cannot_be_read_is_left_to_the_scheduler() {
        let spec = |gpus: i64, memory: &str| Spec {
            gpus: gpus.try_into().unwrap(),
            memory: memory.parse().unwrap(),
            ..fixture::spec()
        };
        let template = Template { cpu_request: Some("2".parse().unwrap()), ..fixture::template() };
        let usual = node(&[("nvidia.com/gpu", "8"), ("memory", "64Gi"), ("cpu", "3920m")]);
        assert!(usual.could_hold(&spec(8, "64Gi"), &template));
        assert!(!usual.could_hold(&spec(9, "4Gi"), &template));
        assert!(!usual.could_hold(&spec(1, "65Gi"), &template));
        assert!(
            !usual
                .could_hold(&spec(1, "4Gi"), &Template { cpu_request: Some("4".parse().unwrap()), ..template.clone() })
        );
        let elsewhere = Template { node_selector: strings(&[("pool", "a")]), ..template.clone() };
        assert!(usual.is_selected_by(&template) && !usual.is_selected_by(&elsewhere));
        assert!(!node(&[("memory", "64Gi")]).could_hold(&spec(1, "4Gi"), &template), "it has no GPU");
        assert!(node(&[("nvidia.com/gpu", "8"), ("memory", "much")]).could_hold(&spec(1, "4Gi"), &template));
        let claims = Template { gpu: GpuSource::ClaimTemplate("one-gpu".to_owned()), ..template };
        assert!(node(&[]).could_hold(&spec(64, "4Gi"), &claims));
    }
}
