//! The objects that a session consists of: one builder a kind, from inputs that are already valid.

mod home;
mod login;
mod metadata;
mod network;
mod pod;
mod security;

pub use home::{home, home_name, home_taken};
pub use login::{login_annotations, login_env, login_secret};
pub use network::{NAMESPACE_POLICY, namespace_policy, namespace_policy_spec, own_network_policy};
pub use pod::{pod, pod_name_taken};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube_core::ResourceExt;
    use vdi_api::{HomeScope, SessionName};

    use super::*;
    use crate::{
        fixture,
        model::{Home, Observed, Spec, Template},
    };

    /// The kind and name of everything that is made for a session.
    fn children(name: &str, number: usize) -> Vec<(&'static str, String)> {
        let uid = format!("7f3a9c1e-0000-4000-8000-{number:012}");
        let session = Observed { name: name.to_owned(), uid, login: Some(fixture::login()), ..fixture::observed() };
        let user = format!("{name}@example.com").parse().unwrap();
        let spec = Spec { user, template: name.to_owned(), ..fixture::spec() };
        let home_of = |scope| {
            let template = Template { home: Some(Home { scope, ..fixture::home() }), ..fixture::template() };
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
