use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, Secret},
    networking::v1::NetworkPolicy,
};
use vdi_api::VDISessionStatus;

use crate::model::{Observed, PodState};

/// What to do about a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In this order; the first that the API server refuses is the last that is tried.
    pub actions: Vec<Action>,
    /// What the status should be. It is written only where it differs.
    pub status: VDISessionStatus,
    /// Events for the user, besides those for a change of the status.
    pub notices: Vec<Notice>,
    /// When time alone will change the plan.
    pub wake: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Writes the network policy that all desktops of the namespace have in common.
    ProtectNamespace(Box<NetworkPolicy>),
    /// Creates the network policy that lets this desktop reach more.
    OpenNetwork(Box<NetworkPolicy>),
    CreateHome(Box<PersistentVolumeClaim>),
    /// Creates the Secret that the desktop reads its password from.
    CreateLogin(Box<Secret>),
    CreatePod(Box<Pod>),
    DeletePod,
    DeleteSession,
}

/// An event of its own. The same notice is never given twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub reason: &'static str,
    pub message: String,
    /// Two notices with the same key and reason, about the same session, are the same.
    pub key: String,
}

impl Plan {
    /// Does nothing but publish this status.
    pub fn publish(status: VDISessionStatus) -> Self {
        Self { actions: Vec::new(), status, notices: Vec::new(), wake: None }
    }

    pub fn wake_by(self, time: Option<Timestamp>) -> Self {
        Self { wake: self.wake.into_iter().chain(time).min(), ..self }
    }

    /// Whether the session has a pod once this is done.
    pub fn leaves_a_pod(&self, seen: &Observed) -> bool {
        let has_one = matches!(seen.pod, PodState::Unscheduled(_) | PodState::Starting(_) | PodState::Ready { .. });
        let is = |wanted: fn(&Action) -> bool| self.actions.iter().any(wanted);
        is(|action| matches!(action, Action::CreatePod(_)))
            || has_one && !is(|action| matches!(action, Action::DeletePod | Action::DeleteSession))
    }
}
