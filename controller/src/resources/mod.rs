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

pub use home::{home, home_name, home_taken};
pub use login::{Login, login_secret};
pub use network::{NAMESPACE_POLICY, namespace_policy, namespace_policy_spec, own_network_policy};
pub use pod::{pod, pod_name_taken};
pub use vdi_api::desktop_pod::{MANAGED_BY, OURS, pod_name};

/// On a pod, the name of the claim that is its home.
pub const HOME_ANNOTATION: &str = "vdi.kasm.io/home";
/// Whose desktop a pod is, or whose home a claim.
pub const USER_ANNOTATION: &str = "vdi.kasm.io/user";
/// On a pod, how many of the session's pods failed before it.
pub const ATTEMPT_ANNOTATION: &str = "vdi.kasm.io/failed-pods";
/// On what one session alone has: its name, for people.
const SESSION_LABEL: &str = "vdi.kasm.io/session";
/// On a session's pod: its uid, by which network policies select it. A name may be another session's by now.
const SESSION_UID_LABEL: &str = "vdi.kasm.io/session-uid";

/// The name of what one session alone has, besides its pod. Made from the uid, which nobody chooses: whatever a session is
/// called, nothing else is named so, nor was by an earlier session of that name.
fn own_name(session_uid: &str) -> String {
    format!("vdi-session-{session_uid}")
}

fn labels<const N: usize>(more: [(&str, &str); N]) -> BTreeMap<String, String> {
    let mut labels = strings([(MANAGED_BY, "vdiwarden")]);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::ResourceExt;
    use vdi_api::{HomeScope, SessionName};

    use super::*;
    use crate::{fixture, template::Template};

    /// The kind and name of everything that is made for a session.
    fn children(name: &str, number: usize) -> Vec<(&'static str, String)> {
        let uid = format!("7f3a9c1e-0000-4000-8000-{number:012}");
        let session = Observed { name: name.to_owned(), uid, login: Some(fixture::login()), ..fixture::observed() };
        let user = format!("{name}@example.com").parse().unwrap();
        let spec = crate::observe::Spec { user, template: name.to_owned(), ..fixture::spec() };
        let home_of = |scope| {
            let template =
                Template { home: Some(crate::template::Home { scope, ..fixture::home() }), ..fixture::template() };
            ("PersistentVolumeClaim", home(&session, &spec, &template).unwrap().name_any())
        };
        vec![
            ("Pod", pod(&session, &spec, &fixture::template()).name_any()),
            ("NetworkPolicy", own_network_policy(&session, &fixture::template()).name_any()),
            ("Secret", login_secret(&session, &fixture::login()).name_any()),
            home_of(HomeScope::Session),
            home_of(HomeScope::User),
            home_of(HomeScope::Template),
        ]
    }

    #[test]
    fn whatever_sessions_are_called_no_two_children_have_the_same_name() {
        let policy = ("NetworkPolicy", NAMESPACE_POLICY.to_owned());
        let mut names: Vec<String> =
            ["a", "desktops", "session", "home", "login", "session-a", "home-a"].map(String::from).into();
        // What a user can see of one session's children, and call the next session.
        for (_, name) in children("desktops", 0).into_iter().chain([policy.clone()]) {
            let parts: Vec<&str> = name.split('-').collect();
            names.extend((0..parts.len()).map(|first| parts[first..].join("-")));
        }
        for length in 1..=SessionName::MAX_CHARS {
            names.extend(["a", "0", "a-"].map(|text| text.repeat(length)[..length].trim_end_matches('-').to_owned()));
        }
        names.sort();
        names.dedup();
        names.retain(|name| name.parse::<SessionName>().is_ok());
        assert!(names.len() > 100, "{names:?}");

        let mut taken = BTreeMap::from([(policy, "the namespace")]);
        for (number, name) in names.iter().enumerate() {
            for child in children(name, number) {
                assert!(child.1.len() <= 253);
                if let Some(other) = taken.insert(child.clone(), name) {
                    panic!("{child:?} is made for {name:?}, and for {other:?}");
                }
            }
        }
    }
}
