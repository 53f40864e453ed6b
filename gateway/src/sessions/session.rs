//! What the gateway knows of one session, parsed once for each change of the objects that the controller keeps.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use vdi_api::{Activity, Email, Expiry, Phase, Timeout, VDISession, desktop_pod::pod_name};
use vdi_service::LoginKeys;

use super::{
    desktop::{Desktop, DesktopPod},
    obstacle::Obstacle,
};
use crate::request::PublicUrl;

#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub host: String,
    pub owner: Email,
    pub template: String,
    pub phase: Phase,
    pub ready: ReadyCondition,
    /// How many sessions are ahead in the queue; `None` when it isn't queued.
    pub ahead: Option<i64>,
    /// When the session ends whatever its user does, once that is known.
    pub ends: Option<Timestamp>,
    /// `spec.timeout`, if that is what ends the session: raising it postpones the end.
    pub timeout: Option<Timeout>,
    /// The session also ends after this long without input.
    pub idle_timeout: Option<Timeout>,
    /// What counts as input.
    pub activity: Activity,
    /// When idleness ends the session, once that is near. It comes from the controller, which knows of the input
    /// through all gateways.
    pub idle_ends: Option<Timestamp>,
    /// From when the session's pod has an address until the pod is deleted.
    pub desktop: Option<Desktop>,
    /// Why there is none, although the pod has an address.
    pub obstacle: Option<Obstacle>,
}

/// The condition `Ready`: why the session is in its phase, in the controller's words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadyCondition {
    pub reason: String,
    pub message: String,
}

/// More time is offered when this little is left, so that an unneeded click never costs a day of a GPU.
const EXTENDABLE: Duration = Duration::from_secs(15 * 60);

impl Session {
    /// `None` while the session has no host of this gateway, and if its user is not an e-mail address.
    pub fn of(
        session: &VDISession,
        pod: Option<&DesktopPod>,
        public: &PublicUrl,
        login_keys: &LoginKeys,
    ) -> Option<Self> {
        let status = session.status.as_ref()?;
        let ready = status.ready();
        let uid = session.uid()?;
        let pod = pod.filter(|pod| pod.name == pod_name(&session.name_any()) && pod.owners.contains(&uid));
        // A session that is being deleted lets nobody in, whatever its status still says.
        let phase = if session.metadata.deletion_timestamp.is_some() { Phase::Terminating } else { status.phase };
        Some(Self {
            namespace: session.namespace()?,
            name: session.name_any(),
            host: public.host_of(status.url.as_deref()?)?.to_owned(),
            owner: session.spec.user.parse().ok()?,
            template: session.spec.template.clone(),
            phase,
            ready: ReadyCondition {
                reason: ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
                message: ready.map(|ready| ready.message.clone()).unwrap_or_default(),
            },
            ahead: status.queue.as_ref().map(|queue| queue.ahead),
            ends: status.expires_at.as_ref().filter(|_| is_the_sessions_end(status.expiry)).map(|time| time.0),
            timeout: session.spec.timeout.parse().ok().filter(|_| status.expiry == Some(Expiry::Timeout)),
            idle_timeout: pod.and_then(|pod| pod.idle_timeout),
            activity: pod.map(|pod| pod.activity).unwrap_or_default(),
            idle_ends: status.expires_at.as_ref().filter(|_| status.expiry == Some(Expiry::Idle)).map(|time| time.0),
            desktop: pod.and_then(|pod| pod.desktop_of(&uid, login_keys)),
            obstacle: pod.and_then(|pod| pod.obstacle.clone()),
            uid,
        })
    }

    /// The desktop, if it can be opened.
    pub fn running(&self) -> Option<&Desktop> {
        self.desktop.as_ref().filter(|desktop| self.phase == Phase::Running && desktop.is_ready)
    }

    /// Whether open connections to the desktop may stay open. A pod whose node has not reported for a while is not
    /// ready, but its desktop may be fine.
    pub fn keeps_connections(&self) -> bool {
        self.desktop.is_some() && matches!(self.phase, Phase::Running | Phase::Creating)
    }

    /// The `spec.timeout` to raise, if it is time to offer that.
    pub fn extendable(&self, now: Timestamp) -> Option<Timeout> {
        let left = self.ends?.duration_since(now);
        self.timeout.filter(|_| self.running().is_some() && left.unsigned_abs() <= EXTENDABLE && left.is_positive())
    }
}

/// Neither the start deadline, which rarely comes, nor idleness, which any input postpones.
fn is_the_sessions_end(expiry: Option<Expiry>) -> bool {
    matches!(expiry, Some(Expiry::Timeout | Expiry::MaxTimeout))
}
