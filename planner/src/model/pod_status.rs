use k8s_openapi::api::core::v1::ContainerState;
use serde::Deserialize;

use super::reason::Reason;

/// The part of a pod's status that says what it is doing. Parsing the rest was most of what the controller did.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    pub phase: Option<String>,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub conditions: Vec<Condition>,
    pub container_statuses: Vec<Container>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    pub image: String,
    pub restart_count: i32,
    #[serde(default)]
    pub state: ContainerState,
    #[serde(default)]
    pub last_state: ContainerState,
}

impl PodStatus {
    /// Whether the pod's containers have stopped for good.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase.as_deref(), Some("Failed" | "Succeeded"))
    }

    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// Who took the pod away, from the [condition] that Kubernetes' own components leave on it.
    ///
    /// [condition]: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
    pub fn disruption(&self) -> Option<Reason> {
        Some(match self.condition("DisruptionTarget")?.reason.as_deref()? {
            "PreemptionByScheduler" => Reason::Preempted,
            "DeletionByTaintManager" | "DeletionByPodGC" => Reason::NodeLost,
            // The kubelet ends a pod for what the pod did, and says more elsewhere.
            "TerminationByKubelet" => return None,
            _ => Reason::Evicted,
        })
    }
}
