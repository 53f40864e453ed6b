use std::fmt;

use vdi_api::Phase;

/// Why a session is where it is: the reason of its `Ready` condition. `docs/sessions.md` explains each to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    // Pending
    Scheduling,
    Suspended,
    SessionInvalid,
    TemplateNotFound,
    TemplateInvalid,
    Unschedulable,
    Queued,
    SchedulingGated,
    QuotaExceeded,
    PodRefused,
    PodNameTaken,
    NetworkPolicyRefused,
    HomeTaken,
    FormerDesktopEnding,
    HomeInUse,
    HomeUnbound,
    // Pending, until there is a new pod
    Preempted,
    Evicted,
    NodeLost,
    PodDeleted,
    PodLost,
    // Creating
    Starting,
    ImagePullFailed,
    ContainerFailed,
    DesktopCrashed,
    OutOfMemory,
    NotResponding,
    // Running
    Running,
    // Terminating
    Expired,
    Idle,
    Deleted,
    // Failed
    StartDeadlineExceeded,
    DesktopEnded,
    CrashLoop,
    PodFailed,
}

/// Whether a reason is told by an event as well. An event is an API write, so each happy step does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    None,
    /// Just as somebody asked for, and yet worth telling.
    Normal,
    Warning,
}

impl Reason {
    pub const ALL: [Self; 35] = [
        Self::Scheduling,
        Self::Suspended,
        Self::SessionInvalid,
        Self::TemplateNotFound,
        Self::TemplateInvalid,
        Self::Unschedulable,
        Self::Queued,
        Self::SchedulingGated,
        Self::QuotaExceeded,
        Self::PodRefused,
        Self::PodNameTaken,
        Self::NetworkPolicyRefused,
        Self::HomeTaken,
        Self::FormerDesktopEnding,
        Self::HomeInUse,
        Self::HomeUnbound,
        Self::Preempted,
        Self::Evicted,
        Self::NodeLost,
        Self::PodDeleted,
        Self::PodLost,
        Self::Starting,
        Self::ImagePullFailed,
        Self::ContainerFailed,
        Self::DesktopCrashed,
        Self::OutOfMemory,
        Self::NotResponding,
        Self::Running,
        Self::Expired,
        Self::Idle,
        Self::Deleted,
        Self::StartDeadlineExceeded,
        Self::DesktopEnded,
        Self::CrashLoop,
        Self::PodFailed,
    ];

    pub fn phase(self) -> Phase {
        match self {
            Self::Scheduling
            | Self::Suspended
            | Self::SessionInvalid
            | Self::TemplateNotFound
            | Self::TemplateInvalid
            | Self::Unschedulable
            | Self::Queued
            | Self::SchedulingGated
            | Self::QuotaExceeded
            | Self::PodRefused
            | Self::PodNameTaken
            | Self::NetworkPolicyRefused
            | Self::HomeTaken
            | Self::FormerDesktopEnding
            | Self::HomeInUse
            | Self::HomeUnbound
            | Self::Preempted
            | Self::Evicted
            | Self::NodeLost
            | Self::PodDeleted
            | Self::PodLost => Phase::Pending,
            Self::Starting
            | Self::ImagePullFailed
            | Self::ContainerFailed
            | Self::DesktopCrashed
            | Self::OutOfMemory
            | Self::NotResponding => Phase::Creating,
            Self::Running => Phase::Running,
            Self::Expired | Self::Idle | Self::Deleted => Phase::Terminating,
            Self::StartDeadlineExceeded | Self::DesktopEnded | Self::CrashLoop | Self::PodFailed => Phase::Failed,
        }
    }

    pub fn event(self) -> Event {
        match self {
            Self::Scheduling | Self::FormerDesktopEnding | Self::Starting | Self::Running | Self::Deleted => {
                Event::None
            }
            Self::Suspended | Self::Queued | Self::SchedulingGated | Self::Expired | Self::Idle => Event::Normal,
            _ => Event::Warning,
        }
    }

    /// The pod was taken away through no fault of the session, which gets a new one.
    pub fn is_loss_of_pod(self) -> bool {
        matches!(self, Self::Preempted | Self::Evicted | Self::NodeLost | Self::PodDeleted | Self::PodLost)
    }

    /// The cluster did not want what the session needs. It is asked again, and others need not wait for that.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::QuotaExceeded | Self::PodRefused | Self::PodNameTaken | Self::NetworkPolicyRefused | Self::HomeTaken
        )
    }

    /// `None` for what another version of this software wrote.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.to_string() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_explained_in_the_docs_with_its_phase() {
        let docs = include_str!("../../docs/sessions.md");
        let row = |reason: &Reason| format!("| {:?} | {reason} |", reason.phase());
        let missing: Vec<_> = Reason::ALL.iter().map(row).filter(|row| !docs.contains(row)).collect();
        assert!(missing.is_empty(), "docs/sessions.md lacks {missing:?}");
    }

    /// Reads the variants off this file, so that a new one can't be forgotten.
    #[test]
    fn all_reasons_are_listed_once() {
        let body = include_str!("reason.rs").split("pub enum Reason {").nth(1).unwrap().split('}').next().unwrap();
        let names: Vec<&str> = body.lines().filter_map(|line| line.trim().strip_suffix(',')).collect();
        assert_eq!(Reason::ALL.map(|reason| reason.to_string()).to_vec(), names);
        assert!(names.iter().all(|name| Reason::named(name).is_some()));
    }
}
