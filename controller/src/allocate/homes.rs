//! Which session uses which home: a volume that is attached to one node can't be used by two desktops.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use vdi_api::{HomeAccess, HomeScope, VDISession, desktop_pod::pod_name};
use vdi_planner::{
    model::{Home, HomeState, Spec, Template},
    resources::home_name,
};

use crate::cache::{PartialClaim, PodSummary, Stores};

/// The homes that are in use, by namespace and name.
///
/// Pods say which home they have, and a restarted controller learns it from them. Two sessions that are planned at the same
/// moment don't see each other's pod yet, so the homes that were given out are remembered here too.
#[derive(Default)]
pub struct Homes {
    holders: Mutex<Option<Holders>>,
}

/// A namespace, and the name of a claim in it.
type Key = (String, String);
type Holders = HashMap<Key, Holder>;

struct Holder {
    session: String,
    since: Instant,
}

/// A session that got the home and has no pod after this time won't have one soon.
const RESERVATION: Duration = Duration::from_secs(30);

impl Homes {
    /// The state of the session's home now. Takes nothing.
    pub fn look(&self, session: &VDISession, spec: &Spec, template: &Template, stores: &Stores) -> HomeState {
        let Some(home) = &template.home else { return HomeState::NotWanted };
        let namespace = session.namespace().unwrap_or_default();
        let uid = session.uid().unwrap_or_default();
        let claim = home_name(&uid, spec, home);
        if is_for_one(home)
            && let Some(by) = self.holder(&(namespace.clone(), claim.clone()), &session.name_any(), &stores.pods)
        {
            return HomeState::InUse { by };
        }
        let Some(there) = stores.claims.get(&ObjectRef::new(&claim).within(&namespace)) else {
            let is_unreadable = stores.aside.get::<PartialClaim>(&namespace, &claim).is_some();
            return if is_unreadable { HomeState::Unbound { why: None } } else { HomeState::Missing };
        };
        let is_anothers = || there.owner_references().iter().all(|owner| owner.uid != uid);
        match there.as_ref() {
            claim if claim.metadata.deletion_timestamp.is_some() => HomeState::Leaving,
            _ if home.scope == HomeScope::Session && is_anothers() => HomeState::Taken,
            claim if is_bound(claim) => HomeState::Bound,
            _ => HomeState::Unbound { why: None },
        }
    }

    /// Takes the home for a session that has a pod or is about to get one, unless another session has it.
    pub fn take(&self, session: &VDISession, spec: &Spec, template: &Template, pods: &Store<PodSummary>) {
        if let Some(home) = template.home.as_ref().filter(|home| is_for_one(home)) {
            let claim = home_name(&session.uid().unwrap_or_default(), spec, home);
            let _ = self.hold((session.namespace().unwrap_or_default(), claim), &session.name_any(), pods);
        }
    }

    /// The session gets no pod after all.
    pub fn release(&self, session: &VDISession) {
        let (namespace, name) = (session.namespace().unwrap_or_default(), session.name_any());
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders
            .iter_mut()
            .for_each(|holders| holders.retain(|key, holder| key.0 != namespace || holder.session != name));
    }

    /// The error is the session that holds it.
    fn hold(&self, key: Key, session: &str, pods: &Store<PodSummary>) -> Result<(), String> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = holders.get_or_insert_with(|| held_by_pods(pods));
        if holders.len() > 2 * pods.len() + 64 {
            holders.retain(|key, holder| holder.is_live(key, pods));
        }
        match other_holder(holders, &key, session, pods) {
            Some(other) => Err(other),
            None => {
                holders.insert(key, Holder { session: session.to_owned(), since: Instant::now() });
                Ok(())
            }
        }
    }

    /// The other session that holds it.
    fn holder(&self, key: &Key, session: &str, pods: &Store<PodSummary>) -> Option<String> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        other_holder(holders.get_or_insert_with(|| held_by_pods(pods)), key, session, pods)
    }
}

fn other_holder(holders: &Holders, key: &Key, session: &str, pods: &Store<PodSummary>) -> Option<String> {
    let holder = holders.get(key).filter(|holder| holder.session != session && holder.is_live(key, pods))?;
    Some(holder.session.clone())
}

/// Whether several sessions share it, one at a time.
fn is_for_one(home: &Home) -> bool {
    home.access != HomeAccess::ReadWriteMany && home.scope != HomeScope::Session
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

impl Holder {
    fn is_live(&self, (namespace, claim): &Key, pods: &Store<PodSummary>) -> bool {
        let pod = pods.get(&ObjectRef::new(&pod_name(&self.session)).within(namespace));
        match pod {
            Some(pod) => pod.home.as_ref() == Some(claim) && !pod.has_ended,
            None => self.since.elapsed() < RESERVATION,
        }
    }
}

fn held_by_pods(pods: &Store<PodSummary>) -> Holders {
    let held = |pod: &PodSummary| {
        let session = pod.name.strip_prefix(&pod_name(""))?.to_owned();
        let key = (pod.namespace.clone(), pod.home.clone()?);
        (!pod.has_ended).then(|| (key, Holder { session, since: Instant::now() }))
    };
    pods.state().iter().filter_map(|pod| held(pod)).collect()
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;
    use vdi_api::desktop_pod::HOME;
    use vdi_planner::fixture;

    use super::*;
    use crate::cache::PartialPod;

    fn pods(list: serde_json::Value) -> Store<PodSummary> {
        let (store, mut writer) = reflector::store();
        for pod in list.as_array().unwrap() {
            let pod: PartialPod = serde_json::from_value(pod.clone()).unwrap();
            writer.apply_watcher_event(&Event::Apply(pod.into()));
        }
        store
    }

    fn pod(name: &str, phase: &str) -> serde_json::Value {
        let annotations = json!({ HOME: "home" });
        json!({ "metadata": { "name": name, "namespace": "team", "annotations": annotations }, "status": { "phase": phase } })
    }

    fn key() -> Key {
        ("team".to_owned(), "home".to_owned())
    }

    #[test]
    fn one_of_two_sessions_at_the_same_moment_gets_the_home() {
        let (homes, none) = (Homes::default(), pods(json!([])));
        assert_eq!(homes.hold(key(), "a", &none), Ok(()));
        assert_eq!(homes.hold(key(), "b", &none), Err("a".to_owned()));
        assert_eq!(homes.hold(key(), "a", &none), Ok(()));
        assert_eq!(homes.hold(("other".to_owned(), "home".to_owned()), "b", &none), Ok(()));
    }

    #[test]
    fn a_session_that_only_looks_at_a_home_or_gets_no_pod_leaves_it_to_others() {
        let (homes, none) = (Homes::default(), pods(json!([])));
        assert_eq!(homes.holder(&key(), "a", &none), None);
        assert_eq!(homes.hold(key(), "b", &none), Ok(()));
        assert_eq!(homes.holder(&key(), "a", &none), Some("b".to_owned()));
        homes.release(&fixture::session("b"));
        assert_eq!(homes.holder(&key(), "a", &none), None);
    }

    #[test]
    fn a_restarted_controller_knows_from_the_pods_who_has_a_home() {
        let running = pods(json!([pod("vdi-a", "Running")]));
        assert_eq!(Homes::default().hold(key(), "b", &running), Err("a".to_owned()));
        let ended = pods(json!([pod("vdi-a", "Failed")]));
        assert_eq!(Homes::default().hold(key(), "b", &ended), Ok(()));
    }

    #[test]
    fn a_home_is_free_once_its_pod_has_ended() {
        let homes = Homes::default();
        assert_eq!(homes.hold(key(), "a", &pods(json!([]))), Ok(()));
        assert_eq!(homes.hold(key(), "b", &pods(json!([pod("vdi-a", "Running")]))), Err("a".to_owned()));
        assert_eq!(homes.hold(key(), "b", &pods(json!([pod("vdi-a", "Succeeded")]))), Ok(()));
    }
}
