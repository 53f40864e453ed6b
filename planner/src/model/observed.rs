use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use vdi_api::VDISessionStatus;

use super::{
    gpu_queue::Place,
    home::HomeState,
    idle::Idle,
    login::Login,
    pinned_template::PinnedTemplate,
    pod_state::PodState,
    reason::Reason,
    renderer::Renderer,
    session::{Deletion, FieldInvalid, Spec},
    template::Template,
};

/// Everything that the plan for a session depends on, besides the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub generation: Option<i64>,
    pub created: Timestamp,
    pub deletion: Option<Deletion>,
    pub spec: Result<Spec, FieldInvalid>,
    pub status: VDISessionStatus,
    /// `None` when no template has the name that the session gives.
    pub template: Option<Result<Template, FieldInvalid>>,
    /// What the pod was made with; before there is one, what the template says.
    pub pinned: Option<PinnedTemplate>,
    pub pod: PodState,
    /// Why the last pod went, where that was seen and there is no other.
    pub pod_left: Option<Reason>,
    pub pod_uid: Option<String>,
    /// How many of the session's pods had failed before this one.
    pub pod_attempt: i64,
    pub home: HomeState,
    /// A pod of the same user, NAMESPACE/NAME, that still holds its GPUs although its session is gone.
    pub former_desktop: Option<String>,
    /// The namespace's network policy, where it isn't there as it should be.
    pub missing_policy: Option<Box<NetworkPolicy>>,
    /// The session's place in the queue for GPUs, when there is one.
    pub place: Option<Place>,
    /// Whether its pod waits for a node and no node is large enough for it.
    pub fits_nowhere: bool,
    /// When the desktop was last used, as far as the gateways know.
    pub idle: Option<Idle>,
    /// What the desktop asks for, where its template wants that and there is a key to derive a password from.
    pub login: Option<Login>,
    pub renderer: Renderer,
    /// Where the desktop is opened; `None` until everything that the URL consists of is known.
    pub url: Option<String>,
}

impl Observed {
    /// Why the session is where it is, as its status says.
    pub fn reason(&self) -> Option<Reason> {
        Reason::of(&self.status)
    }

    /// The message of its status, when it has this reason.
    pub fn message_of(&self, reason: Reason) -> Option<&str> {
        let ready = self.status.ready().filter(|ready| ready.reason == reason.to_string())?;
        Some(&ready.message)
    }
}
