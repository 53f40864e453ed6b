use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube_core::Resource;
use vdi_api::{VDISession, desktop_pod::MANAGED_BY};

use crate::model::Observed;

/// The name of what belongs to one session alone, besides its pod. It is derived from the uid, which nobody chooses, so no other
/// object gets the same name, whatever sessions are called and in whatever order they come.
pub fn own_name(session_uid: &str) -> String {
    format!("vdi-session-{session_uid}")
}

/// These labels, and the one that says who manages the object.
pub fn labels<const N: usize>(more: [(&str, &str); N]) -> BTreeMap<String, String> {
    let mut labels = strings([(MANAGED_BY, "vdiwarden")]);
    labels.extend(strings(more));
    labels
}

pub fn strings<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

pub fn owner(session: &Observed) -> OwnerReference {
    OwnerReference {
        api_version: VDISession::api_version(&()).into_owned(),
        kind: VDISession::kind(&()).into_owned(),
        name: session.name.clone(),
        uid: session.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
