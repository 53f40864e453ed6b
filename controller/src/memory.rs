//! What the controller knows besides the objects of the cluster. All of it can be lost: it is found out again.

use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc::UnboundedSender;
use vdi_api::VDISession;

use crate::{activity::Activity, home::Homes, hosts::HostClaims, line::{Lines, Place}, resources::Gateway};

pub struct Memories {
    pub hosts: HostClaims,
    pub homes: Homes,
    pub lines: Lines,
    pub activity: Activity,
    pub gateway: Gateway,
    /// Sessions whose turn it is.
    pub called: UnboundedSender<ObjectRef<VDISession>>,
}

impl Memories {
    /// Calls the next in line. Always `None`: who has left has no place.
    pub fn leave_line(&self, session: &ObjectRef<VDISession>) -> Option<Place> {
        if let Some(next) = self.lines.leave(session) {
            // Nobody listens any more once the controller stops.
            let _ = self.called.send(next);
        }
        None
    }
}
