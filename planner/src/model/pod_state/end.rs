use super::log::Log;
use crate::model::{pod_status::PodStatus, reason::Reason};

/// How a pod ended that won't run again.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The desktop itself exited, without an error: the kubelet restarts those that crash.
    Desktop(String),
    /// Its node evicted or refused it: for what it used, or because the node is shutting down.
    Node(String),
    /// Somebody took it away, and is about to delete it.
    Taken(Reason),
}

impl End {
    pub fn of(status: &PodStatus, log: Log) -> Self {
        if let Some(reason) = status.disruption() {
            return Self::Taken(reason);
        }
        if let Some(reason) = &status.reason {
            return Self::Node(match status.message.as_deref().map(str::trim) {
                Some(message) if !message.is_empty() => format!("{reason}: {message}"),
                _ => reason.clone(),
            });
        }
        let end = status.container_statuses.iter().find_map(|container| container.state.terminated.as_ref());
        let how = end.map_or_else(String::new, |end| format!(" with {}", log.last_words(end)));
        Self::Desktop(format!("the desktop ended{how}"))
    }
}
