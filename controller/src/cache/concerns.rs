//! Which sessions a changed object concerns.

use k8s_openapi::api::{core::v1::PersistentVolumeClaim, networking::v1::NetworkPolicy};
use kube::{
    ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use vdi_api::{Phase, VDISession, VDISessionStatus, VDITemplate};

use super::pod_summary::PodSummary;

/// Names the sessions that need a pass after a change of this object.
pub type Concerns<K> = fn(&K, &Store<VDISession>) -> Vec<ObjectRef<VDISession>>;

/// Every session there is.
pub fn all(sessions: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    sessions.state().iter().map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

pub fn itself(session: &VDISession, _: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    vec![ObjectRef::from_obj(session)]
}

pub fn owners(pod: &PodSummary, _: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    pod.owners.iter().map(|owner| ObjectRef::new(&owner.name).within(&pod.namespace)).collect()
}

/// The sessions that a new or changed template may start: those without a pod.
pub fn waiting_for(template: &VDITemplate, sessions: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    let name = template.name_any();
    let has_pod = |session: &VDISession| session.status.as_ref().is_some_and(|status| status.pod_name.is_some());
    let sessions = sessions.state().into_iter();
    let waiting = sessions.filter(|session| session.spec.template == name && !has_pod(session));
    waiting.map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

/// The sessions that a changed network policy may expose: all of its namespace.
pub fn in_its_namespace(policy: &NetworkPolicy, sessions: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    let sessions = sessions.state().into_iter().filter(|session| session.namespace() == policy.namespace());
    sessions.map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

/// The sessions that may miss a deleted home: those whose pod waits for a node. Others have it mounted, or create it.
pub fn waiting_for_nodes(claim: &PersistentVolumeClaim, sessions: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    let waits = |session: &VDISession| {
        let is_pending = |status: &VDISessionStatus| status.phase == Phase::Pending && status.pod_name.is_some();
        session.namespace() == claim.namespace() && session.status.as_ref().is_some_and(is_pending)
    };
    let sessions = sessions.state().into_iter().filter(|session| waits(session));
    sessions.map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

pub fn nobody<K>(_: &K, _: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    Vec::new()
}
