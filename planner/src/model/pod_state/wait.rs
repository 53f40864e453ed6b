use crate::model::pod_status::PodStatus;

/// What a pod without a node waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
    /// The scheduler hasn't looked at it yet.
    Scheduler,
    /// Somebody's scheduling gates, such as Kueue's, with the condition's message.
    Gates(String),
    /// A node that has what it needs, with the scheduler's message.
    Node(String),
}

impl Wait {
    pub fn of(status: &PodStatus) -> Self {
        let Some(scheduled) = status.condition("PodScheduled") else { return Self::Scheduler };
        let message = scheduled.message.clone().unwrap_or_default();
        match scheduled.reason.as_deref() {
            Some("SchedulingGated") => Self::Gates(message),
            Some("Unschedulable") => Self::Node(message),
            _ => Self::Scheduler,
        }
    }
}
