use strum::{Display, EnumString, VariantArray};
use vdi_api::{Phase, VDISessionStatus};

/// Why a session is where it is: the reason of its `Ready` condition. `docs/sessions.md` explains each to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantArray)]
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

/// Whether a reason is reported by an event as well. An event is an API write, so happy steps have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    None,
    /// Expected, and yet of interest to the user.
    Normal,
    Warning,
}

impl Reason {
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

    /// The session lost its pod through no fault of its own, and gets a new one.
    pub fn is_loss_of_pod(self) -> bool {
        matches!(self, Self::Preempted | Self::Evicted | Self::NodeLost | Self::PodDeleted | Self::PodLost)
    }

    /// The API server refused something that the session needs. It is tried again, and other sessions need not wait for that.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::QuotaExceeded | Self::PodRefused | Self::PodNameTaken | Self::NetworkPolicyRefused | Self::HomeTaken
        )
    }

    /// Why the session is where it is, as its status says; `None` for a reason of another version of this software.
    pub fn of(status: &VDISessionStatus) -> Option<Self> {
        status.ready()?.reason.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_explained_to_people() {
        let missing: Vec<_> =
            Reason::VARIANTS.iter().filter(|reason| vdi_api::explanation(&reason.to_string()).is_none()).collect();
        assert!(missing.is_empty(), "vdi_api::explanation lacks {missing:?}");
    }

    #[test]
    fn every_reason_is_explained_in_the_docs_with_its_phase() {
        let docs = include_str!("../../../docs/sessions.md");
        let row = |reason: &Reason| format!("| {:?} | {reason} |", reason.phase());
        let missing: Vec<_> = Reason::VARIANTS.iter().map(row).filter(|row| !docs.contains(row)).collect();
        assert!(missing.is_empty(), "docs/sessions.md lacks {missing:?}");
    }
}
