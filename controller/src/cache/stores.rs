use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::PersistentVolumeClaim, networking::v1::NetworkPolicy, scheduling::v1::PriorityClass};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::{
    sync::watch::{self, error::RecvError},
    task::AbortHandle,
};
use vdi_api::{Email, VDISession, VDITemplate};
use vdi_planner::model::{Spec, Template};
use vdi_service::{
    Aside,
    lenient::{Custom, Unreadable},
};

use super::{
    node_size::NodeSize,
    other_pods::OtherPods,
    pod_summary::{Owner, PodSummary},
    termination_reasons::TerminationReasons,
};

/// The objects that the controller watches, in memory, without the parts that it never reads. One that can't be parsed is in no
/// store but in `aside`, and disturbs no other.
#[derive(Clone, Debug)]
pub struct Stores {
    pub sessions: Store<VDISession>,
    pub templates: Store<VDITemplate>,
    pub pods: Store<PodSummary>,
    pub termination_reasons: Arc<TerminationReasons>,
    /// The homes that this controller made.
    pub claims: Store<PersistentVolumeClaim>,
    pub policies: Store<NetworkPolicy>,
    pub priorities: Store<PriorityClass>,
    pub nodes: Store<NodeSize>,
    pub other_pods: OtherPods,
    /// The objects of all these kinds that can't be parsed. They exist all the same: a session among them still owns its pod.
    pub aside: Arc<Aside>,
    /// How many of them have been filled.
    pub(super) complete: watch::Receiver<usize>,
    pub(super) watches: Arc<[AbortHandle]>,
}

impl Stores {
    const COUNT: usize = 7;

    /// Returns once every store is filled. Planning before that would take what hasn't been read yet for something that doesn't
    /// exist.
    ///
    /// [`Store::wait_until_ready`] won't do: of several tasks that wait for the same store, kube 5.0 wakes only the last.
    pub async fn wait_until_complete(&self) -> Result<(), RecvError> {
        self.complete.clone().wait_for(|stores| *stores == Self::COUNT).await.map(drop)
    }

    /// Whether there are nodes for a session's pod, and none of them would be large enough even if it were empty.
    pub fn fits_nowhere(&self, spec: &Spec, template: &Template) -> bool {
        let nodes = self.nodes.state();
        let mut selected = nodes.iter().filter(|node| node.is_selected_by(template)).peekable();
        selected.peek().is_some() && !selected.any(|node| node.could_hold(spec, template))
    }

    /// A pod of this user that still holds GPUs although its session is gone: the admission policy's budgets count sessions, not
    /// pods.
    pub fn former_desktop(&self, user: &Email, now: Timestamp) -> Option<Arc<PodSummary>> {
        self.pods.find(|pod| {
            let is_of_user = pod.user.as_deref() == Some(user.as_str()) && pod.holds_gpus(now);
            is_of_user && !pod.owners.iter().any(|owner| self.has_session(&pod.namespace, owner))
        })
    }

    /// Whether this very session exists, by uid. One that can't be parsed exists too.
    pub fn has_session(&self, namespace: &str, owner: &Owner) -> bool {
        let session = self.sessions.get(&ObjectRef::new(&owner.name).within(namespace));
        let is_aside = || self.aside.get::<Custom<VDISession>>(namespace, &owner.name).is_some();
        session.map_or_else(is_aside, |session| session.metadata.uid.as_ref() == Some(&owner.uid))
    }

    /// The value of a priority class; without a name, of the cluster's default class.
    pub fn priority(&self, class: Option<&str>) -> i32 {
        let class = match class {
            Some(name) => self.priorities.get(&ObjectRef::new(name)),
            None => self.priorities.find(|class| class.global_default == Some(true)),
        };
        class.map_or(0, |class| class.value)
    }

    /// The template of this name, if it can't be parsed.
    pub fn unreadable_template(&self, name: &str) -> Option<Unreadable> {
        self.aside.get::<Custom<VDITemplate>>("", name)
    }

    /// Whether all watches are still running.
    pub fn are_watched(&self) -> bool {
        self.watches.iter().all(|watch| !watch.is_finished())
    }
}
