//! What the controller knows besides the objects of the cluster. All of it can be lost: it is found out again.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use kube::runtime::reflector::ObjectRef;
use vdi_api::VDISession;
use vdi_service::LoginKeys;

use crate::{
    activity::Activity,
    home::Homes,
    hosts::HostClaims,
    line::{Lines, Place},
    queue::Queue,
};

pub struct Memories {
    pub hosts: HostClaims,
    pub homes: Homes,
    pub lines: Lines,
    pub activity: Activity,
    /// What the passwords of desktops that ask for one follow from.
    pub login_keys: LoginKeys,
    /// What the policies of all namespaces are to be.
    pub policy: NetworkPolicySpec,
    /// Where sessions are called whose turn it is.
    pub queue: Arc<Queue>,
}

impl Memories {
    /// Calls the next in line. Always `None`: who has left has no place.
    pub fn leave_line(&self, session: &ObjectRef<VDISession>) -> Option<Place> {
        self.queue.add(self.lines.leave(session));
        None
    }
}
