//! Whose home is in use by which session: a volume that one node holds can't be used by two desktops.

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
use vdi_api::{HomeAccess, HomeScope, VDISession};

use crate::{
    observe::Spec,
    resources::{home_name, pod_name},
    stores::{PodSummary, Stores, lean::LeanClaim},
    template::Template,
};

/// What a session's home is, as far as it matters before there is a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum HomeState {
    /// Its template has none.
    NotWanted,
    /// It has to be made first.
    Missing,
    There,
    /// It is there and has no volume yet; why, once the cluster has said so.
    Unbound {
        why: Option<String>,
    },
    InUse {
        by: String,
    },
}

/// The homes that are in use, by namespace and name.
///
/// A pod says which home it has, which is where a restarted controller learns of it. Two sessions that are planned at the
/// same moment don't see each other's pod yet, so what was given out is remembered here too.
#[derive(Default)]
pub struct Homes {
    holders: Mutex<Option<HashMap<(String, String), Holder>>>,
}

struct Holder {
    session: String,
    since: Instant,
}

/// A session that got the home and has no pod by now isn't going to have one soon.
const PATIENCE: Duration = Duration::from_secs(30);

impl Homes {
    /// Takes the home for this session, unless another one has it.
    pub fn take(&self, session: &VDISession, spec: &Spec, template: &Template, stores: &Stores) -> HomeState {
        let Some(home) = &template.home else { return HomeState::NotWanted };
        let namespace = session.namespace().unwrap_or_default();
        let claim = home_name(&session.name_any(), spec, home);
        let is_shared = home.access == HomeAccess::ReadWriteMany || home.scope == HomeScope::Session;
        if !is_shared && let Err(by) = self.hold((namespace.clone(), claim.clone()), &session.name_any(), &stores.pods)
        {
            return HomeState::InUse { by };
        }
        match stores.claims.get(&ObjectRef::new(&claim).within(&namespace)) {
            Some(claim) if is_bound(&claim) => HomeState::There,
            Some(_) => HomeState::Unbound { why: None },
            None if stores.aside.get::<LeanClaim>(&namespace, &claim).is_some() => HomeState::Unbound { why: None },
            None => HomeState::Missing,
        }
    }

    /// An error names the session that holds it.
    fn hold(&self, key: (String, String), session: &str, pods: &Store<PodSummary>) -> Result<(), String> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = holders.get_or_insert_with(|| held_by_pods(pods));
        if holders.len() > 2 * pods.len() + 64 {
            holders.retain(|key, holder| holder.is_live(key, pods));
        }
        match holders.get(&key) {
            Some(holder) if holder.session != session && holder.is_live(&key, pods) => Err(holder.session.clone()),
            _ => {
                holders.insert(key, Holder { session: session.to_owned(), since: Instant::now() });
                Ok(())
            }
        }
    }
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

impl Holder {
    fn is_live(&self, (namespace, claim): &(String, String), pods: &Store<PodSummary>) -> bool {
        let pod = pods.get(&ObjectRef::new(&pod_name(&self.session)).within(namespace));
        match pod {
            Some(pod) => pod.home.as_ref() == Some(claim) && !pod.has_ended,
            None => self.since.elapsed() < PATIENCE,
        }
    }
}

fn held_by_pods(pods: &Store<PodSummary>) -> HashMap<(String, String), Holder> {
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

    use super::*;
    use crate::{resources::HOME_ANNOTATION, stores::LeanPod};

    fn pods(list: serde_json::Value) -> Store<PodSummary> {
        let (store, mut writer) = reflector::store();
        for pod in list.as_array().unwrap() {
            let pod: LeanPod = serde_json::from_value(pod.clone()).unwrap();
            writer.apply_watcher_event(&Event::Apply(pod.into()));
        }
        store
    }

    fn pod(name: &str, phase: &str) -> serde_json::Value {
        let annotations = json!({ HOME_ANNOTATION: "home" });
        json!({ "metadata": { "name": name, "namespace": "team", "annotations": annotations }, "status": { "phase": phase } })
    }

    fn key() -> (String, String) {
        ("team".to_owned(), "home".to_owned())
    }

    #[test]
    fn of_two_sessions_at_the_same_moment_one_gets_the_home() {
        let (homes, none) = (Homes::default(), pods(json!([])));
        assert_eq!(homes.hold(key(), "a", &none), Ok(()));
        assert_eq!(homes.hold(key(), "b", &none), Err("a".to_owned()));
        assert_eq!(homes.hold(key(), "a", &none), Ok(()));
        assert_eq!(homes.hold(("other".to_owned(), "home".to_owned()), "b", &none), Ok(()));
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
