use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ObjectMeta;
use serde::Deserialize;
use vdi_planner::{capacity::whole, model::PodStatus};
use vdi_service::{lenient, same_resource};

/// The part of a pod that the controller reads: whose it is and what it is doing. The rest is most of its size, and parsing it was
/// most of what the controller did.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialPod {
    #[serde(deserialize_with = "lenient::metadata")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: PartialPodSpec,
    #[serde(default)]
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PartialPodSpec {
    pub node_name: Option<String>,
    init_containers: Vec<PartialContainer>,
    containers: Vec<PartialContainer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialContainer {
    restart_policy: Option<String>,
    resources: PartialResources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PartialResources {
    limits: BTreeMap<String, String>,
}

/// The part of a pod that says which devices it holds.
#[derive(Clone, Debug, Deserialize)]
pub struct PodWithDevices {
    #[serde(deserialize_with = "lenient::metadata")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: PartialPodSpec,
}

same_resource!(PartialPod, Pod);
same_resource!(PodWithDevices, Pod);

impl PartialPodSpec {
    /// How much it takes of each extended resource, [as the scheduler counts]: what its containers need together, or what its start
    /// needs, if that is more.
    ///
    /// [as the scheduler counts]: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
    pub fn devices(&self) -> Vec<(String, i64)> {
        let (mut lasting, mut most) = (BTreeMap::<&str, i64>::new(), BTreeMap::<&str, i64>::new());
        let is_sidecar = |container: &PartialContainer| container.restart_policy.as_deref() == Some("Always");
        for container in &self.init_containers {
            for (resource, count) in container.devices() {
                let lasting = lasting.entry(resource).or_default();
                let needed = lasting.saturating_add(count);
                if is_sidecar(container) {
                    *lasting = needed;
                }
                let most = most.entry(resource).or_default();
                *most = needed.max(*most);
            }
        }
        for (resource, count) in self.containers.iter().flat_map(PartialContainer::devices) {
            let lasting = lasting.entry(resource).or_default();
            *lasting = lasting.saturating_add(count);
            let most = most.entry(resource).or_default();
            *most = (*lasting).max(*most);
        }
        most.into_iter().map(|(resource, count)| (resource.to_owned(), count)).collect()
    }
}

impl PartialContainer {
    /// Of extended resources, whose names have a domain, limits and requests are the same.
    fn devices(&self) -> impl Iterator<Item = (&str, i64)> {
        let limits = self.resources.limits.iter().filter(|(resource, _)| resource.contains('/'));
        limits.filter_map(|(resource, amount)| Some((resource.as_str(), whole(amount)?)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_takes_the_devices_that_it_needs_at_once() {
        let gpus = |gpus: &str| json!({ "resources": { "limits": { "example.com/gpu": gpus, "memory": "4Gi" } } });
        let sidecar = |mut container: Value| {
            container["restartPolicy"] = json!("Always");
            container
        };
        for (init, containers, expected) in [
            (json!([]), json!([{}]), None),
            (json!([]), json!([gpus("1"), gpus("2")]), Some(3)),
            (json!([]), json!([gpus("2k")]), Some(2000)),
            (json!([gpus("4"), gpus("5")]), json!([gpus("2")]), Some(5)),
            (json!([gpus("4"), sidecar(gpus("1"))]), json!([gpus("2")]), Some(4)),
            (json!([sidecar(gpus("1")), gpus("4")]), json!([gpus("2")]), Some(5)),
            (json!([sidecar(gpus("1"))]), json!([gpus("2")]), Some(3)),
        ] {
            let spec: PartialPodSpec =
                serde_json::from_value(json!({ "initContainers": init, "containers": containers })).unwrap();
            let expected: Vec<_> = expected.map(|count| ("example.com/gpu".to_owned(), count)).into_iter().collect();
            assert_eq!(spec.devices(), expected, "{spec:?}");
        }
    }
}
