//! Why pods are gone. A pod may be deleted and gone between two passes, so that no pass sees it leave.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::runtime::{
    reflector::{ObjectRef, Store},
    watcher::Event,
};
use vdi_api::VDISession;
use vdi_planner::model::{PodState, Reason};

use super::{concerns::owners, pod_summary::PodSummary};

#[derive(Debug, Default)]
pub struct TerminationReasons(Mutex<HashMap<ObjectRef<VDISession>, Reason>>);

impl TerminationReasons {
    /// To be called before the store changes, so that a pass which finds no pod knows why.
    pub fn note(&self, event: &Event<PodSummary>, sessions: &Store<VDISession>) {
        match event {
            Event::Delete(pod) => {
                let why = match pod.state {
                    PodState::Leaving(why) => why,
                    _ => Reason::PodDeleted,
                };
                // Of a session that is itself gone, the reason would never be forgotten.
                let sessions = owners(pod, sessions).into_iter().filter(|session| sessions.get(session).is_some());
                self.lock().extend(sessions.map(|session| (session, why)));
            }
            Event::Apply(pod) => owners(pod, sessions).iter().for_each(|session| self.forget(session)),
            _ => {}
        }
    }

    /// Why the session's last pod went, where that was seen and the session has had no other since.
    pub fn why(&self, session: &ObjectRef<VDISession>) -> Option<Reason> {
        self.lock().get(session).copied()
    }

    pub fn forget(&self, session: &ObjectRef<VDISession>) {
        self.lock().remove(session);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef<VDISession>, Reason>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use serde_json::json;
    use vdi_planner::fixture;

    use super::*;
    use crate::cache::PartialPod;

    fn pod(deleted: bool) -> PodSummary {
        let pod: PartialPod = serde_json::from_value(json!({
            "metadata": {
                "name": "vdi-a",
                "namespace": "team",
                "ownerReferences": [{ "apiVersion": "vdi.kasm.io/v1alpha1", "kind": "VDISession", "name": "a", "uid": "1" }],
                "deletionTimestamp": deleted.then_some("2026-01-01T12:00:00Z"),
            },
            "status": { "conditions": [
                { "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler" },
            ] },
        }))
        .unwrap();
        pod.into()
    }

    #[test]
    fn why_a_pod_went_stays_known_until_there_is_another() {
        let (reasons, (sessions, mut writer)) = (TerminationReasons::default(), reflector::store());
        let session = fixture::session("a");
        let key = ObjectRef::from_obj(&session);
        reasons.note(&Event::Delete(pod(true)), &sessions);
        assert_eq!(reasons.why(&key), None, "the session is gone too");

        writer.apply_watcher_event(&Event::Apply(session));
        reasons.note(&Event::Apply(pod(true)), &sessions);
        assert_eq!(reasons.why(&key), None, "it is still leaving");
        reasons.note(&Event::Delete(pod(true)), &sessions);
        assert_eq!(reasons.why(&key), Some(Reason::Preempted));
        reasons.note(&Event::Apply(pod(false)), &sessions);
        assert_eq!(reasons.why(&key), None, "there is another");
        reasons.note(&Event::Delete(pod(false)), &sessions);
        assert_eq!(reasons.why(&key), Some(Reason::PodDeleted), "at once, without a time to leave in");
        reasons.forget(&key);
        assert_eq!(reasons.why(&key), None);
    }
}
