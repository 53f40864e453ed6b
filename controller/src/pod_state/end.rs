use super::{Log, container::last_words, disruption};
use crate::{reason::Reason, stores::lean_pod::Status};

/// How a pod ended that won't run again.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The desktop itself ended, and not by a crash: the kubelet starts those again.
    Desktop(String),
    /// Its node put it away, or didn't take it at all: for what it used, or because the node is shutting down.
    Node(String),
    /// Somebody took it away, and is about to delete it.
    Taken(Reason),
}

impl End {
    pub(super) fn of(status: &Status, log: Log) -> Self {
        if let Some(reason) = disruption(status) {
            return Self::Taken(reason);
        }
        if let Some(reason) = &status.reason {
            return Self::Node(match status.message.as_deref().map(str::trim) {
                Some(message) if !message.is_empty() => format!("{reason}: {message}"),
                _ => reason.clone(),
            });
        }
        let end = status.container_statuses.iter().find_map(|container| container.state.terminated.as_ref());
        let how = end.map_or_else(String::new, |end| format!(" with {}", last_words(end, log)));
        Self::Desktop(format!("the desktop ended{how}"))
    }
}
