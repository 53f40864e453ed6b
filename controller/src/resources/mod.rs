//! What a session is made of in the cluster: one builder a kind, from inputs that are already valid.

mod home;
mod login;
mod network;
mod pod;
mod security;
#[cfg(test)]
mod snapshot;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use std::collections::BTreeMap;
use vdi_api::VDISession;

use crate::observe::Observed;

pub use home::{home, home_name};
pub use login::{Login, login_secret};
pub use network::{NAMESPACE_POLICY, namespace_policy, namespace_policy_spec, own_network_policy};
pub use pod::{pod, pod_name_taken};
pub use vdi_api::desktop_pod::{OURS, pod_name};

/// On a pod, the name of the claim that is its home.
pub const HOME_ANNOTATION: &str = "vdi.kasm.io/home";
/// On a pod, how many of the session's pods failed before it.
pub const ATTEMPT_ANNOTATION: &str = "vdi.kasm.io/failed-pods";
/// On what one session alone has.
const SESSION_LABEL: &str = "vdi.kasm.io/session";

fn labels<const N: usize>(more: [(&str, &str); N]) -> BTreeMap<String, String> {
    let mut labels = strings([("app.kubernetes.io/managed-by", "vdiwarden")]);
    labels.extend(strings(more));
    labels
}

fn strings<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn owner(session: &Observed) -> OwnerReference {
    OwnerReference {
        api_version: VDISession::api_version(&()).into_owned(),
        kind: VDISession::kind(&()).into_owned(),
        name: session.name.clone(),
        uid: session.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
