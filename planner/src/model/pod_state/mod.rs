//! What a pod is doing, parsed from its status once, so that planning is a plain match.

mod end;
mod log;
#[cfg(test)]
mod tests;
mod trouble;
mod wait;

use super::{pinned_template::PinnedTemplate, pod_status::PodStatus, reason::Reason};
use log::Log;

pub use end::End;
pub use trouble::Trouble;
pub use wait::Wait;

/// The pod that has the name which a session's pod has.
#[derive(Clone, Debug, PartialEq)]
pub enum PodState {
    Absent,
    /// It isn't this session's, but an earlier session's, or somebody's own.
    Foreign,
    /// It can't be parsed.
    Unreadable,
    /// It has no node.
    Unscheduled(Wait),
    /// It has a node and isn't ready.
    Starting(Option<Trouble>),
    /// The desktop answers.
    Ready {
        ip: Option<String>,
    },
    /// It has ended for good, and holds no GPU.
    Ended(End),
    /// It has been deleted and is shutting down, for this reason.
    Leaving(Reason),
}

impl PodState {
    /// Of a pod that is the session's own.
    pub fn of(is_deleted: bool, has_node: bool, status: &PodStatus, pinned: Option<&PinnedTemplate>) -> Self {
        let log = if pinned.is_some_and(|pinned| pinned.log_in_status) { Log::Shown } else { Log::Hidden };
        // However it ends from here on, that is why.
        if is_deleted {
            return Self::Leaving(status.disruption().unwrap_or(Reason::PodDeleted));
        }
        if status.has_ended() {
            return Self::Ended(End::of(status, log));
        }
        if !has_node {
            return Self::Unscheduled(Wait::of(status));
        }
        match status.condition("Ready") {
            Some(ready) if ready.status == "True" => Self::Ready { ip: status.pod_ip.clone() },
            _ => Self::Starting(status.container_statuses.iter().find_map(|container| Trouble::of(container, log))),
        }
    }
}
