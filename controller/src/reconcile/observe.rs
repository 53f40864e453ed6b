//! Gathers what the plan for a session depends on, from memory alone.

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use kube::runtime::reflector::ObjectRef;
use vdi_planner::{
    model::{Deletion, HomeState, Observed},
    resources::{self, NAMESPACE_POLICY},
};

use crate::{
    allocate::Allocation,
    cache::{SessionView, Stores},
    probe::Probed,
};

pub fn observe(
    view: SessionView,
    allocation: Allocation,
    probed: Probed,
    stores: &Stores,
    policy: &NetworkPolicySpec,
) -> Observed {
    let session = view.session;
    let Allocation { home, place, login, url } = allocation;
    let Probed { renderer, idle, unbound_home } = probed;
    Observed {
        generation: session.metadata.generation,
        created: view.created(),
        deletion: Deletion::of(session),
        status: session.status.clone().unwrap_or_default(),
        pinned: view.pinned().cloned(),
        pod_left: stores.termination_reasons.why(&ObjectRef::from_obj(session)),
        pod_uid: view.own_pod.as_ref().and_then(|pod| pod.uid.clone()),
        pod_attempt: view.own_pod.as_ref().map_or(0, |pod| pod.attempt),
        home: match home {
            HomeState::Unbound { .. } => HomeState::Unbound { why: unbound_home },
            home => home,
        },
        missing_policy: missing_policy(&view.namespace, stores, policy),
        place,
        idle,
        login,
        renderer,
        url,
        name: view.name,
        namespace: view.namespace,
        uid: view.uid,
        spec: view.spec,
        template: view.template,
        pod: view.pod,
        former_desktop: view.former_desktop,
        fits_nowhere: view.fits_nowhere,
    }
}

fn missing_policy(namespace: &str, stores: &Stores, wanted: &NetworkPolicySpec) -> Option<Box<NetworkPolicy>> {
    let existing = stores.policies.get(&ObjectRef::new(NAMESPACE_POLICY).within(namespace));
    let is_as_wanted = existing.is_some_and(|existing| existing.spec.as_ref() == Some(wanted));
    (!is_as_wanted).then(|| Box::new(resources::namespace_policy(namespace, wanted)))
}
