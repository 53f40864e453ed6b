use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use vdi_api::{Email, HomeScope, HostLabel, desktop_pod as keys};

use super::metadata::{labels, own_name, owner, strings};
use crate::{
    digest,
    model::{Home, Observed, Spec, Template},
};

/// The name of a session's home: always the same for the same user, and never another user's.
pub fn home_name(session_uid: &str, spec: &Spec, home: &Home) -> String {
    match home.scope {
        HomeScope::Session => own_name(session_uid),
        HomeScope::User => name_of_user(&spec.user, ""),
        HomeScope::Template => name_of_user(&spec.user, &spec.template),
    }
}

/// The first part is for people; the digest of the whole address makes it unique.
fn name_of_user(user: &Email, template: &str) -> String {
    let label = HostLabel::of_user(user);
    let label = label.as_str().get(..30).unwrap_or(label.as_str()).trim_end_matches('-');
    // No address contains a line break.
    let digest = digest::short(&format!("{}\n{template}", user.normalized()));
    format!("vdi-home-{label}-{digest}")
}

/// The message for a session whose home's name is taken.
pub fn home_taken(claim: &str) -> String {
    format!(
        "a PersistentVolumeClaim named {claim} exists and isn't this session's home: delete it, or label it {} to use it as the home",
        keys::MANAGED_BY_SELECTOR
    )
}

/// Holds the user's files. Without an owner it outlives every session; only a session's own home is deleted with it.
pub fn home(session: &Observed, spec: &Spec, template: &Template) -> Option<PersistentVolumeClaim> {
    let home = template.home.as_ref()?;
    let is_the_sessions = home.scope == HomeScope::Session;
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(home_name(&session.uid, spec, home)),
            namespace: Some(session.namespace.clone()),
            labels: Some(labels([("app.kubernetes.io/name", "vdi-home")])),
            annotations: Some(strings([(keys::USER, spec.user.as_str())])),
            owner_references: is_the_sessions.then(|| vec![owner(session)]),
            ..Default::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![format!("{:?}", home.access)]),
            storage_class_name: home.storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(home.size.to_string()))].into()),
                limits: None,
            }),
            ..Default::default()
        }),
        status: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn name(user: &str, template: &str, scope: HomeScope) -> String {
        let spec = Spec { user: user.parse().unwrap(), template: template.to_owned(), ..fixture::spec() };
        home_name("desk", &spec, &Home { scope, ..fixture::home() })
    }

    #[test]
    fn the_home_is_the_one_in_the_snapshot() {
        let seen = fixture::observed();
        let home = home(&seen, &fixture::spec(), &fixture::template()).unwrap();
        insta::assert_yaml_snapshot!("home", &home);
    }

    /// Nobody loses their files with an upgrade, or after a rollback.
    #[test]
    fn homes_have_the_names_that_the_last_release_gave_them() {
        let recorded = include_str!("../../../tests/last-release/formats/homes.json");
        let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
        let names = [HomeScope::User, HomeScope::Template, HomeScope::Session]
            .map(|scope| (format!("{scope:?}"), name("alice@example.com", "formats", scope).into()));
        assert_eq!(serde_json::Value::Object(names.into_iter().collect()), recorded);
    }

    #[test]
    fn a_user_has_one_home_however_the_address_is_written_and_nobody_else_has_it() {
        let alice = name("alice@example.com", "a", HomeScope::User);
        assert_eq!(name("alice@EXAMPLE.com", "b", HomeScope::User), alice, "a domain is the same in capitals");
        assert_ne!(name("alice@example.org", "a", HomeScope::User), alice);
        assert_ne!(name("alice@example.com", "a", HomeScope::Template), alice);
        assert_ne!(
            name("alice@example.com", "a", HomeScope::Template),
            name("alice@example.com", "b", HomeScope::Template)
        );
        assert_eq!(name("alice@example.com", "a", HomeScope::Session), "vdi-session-desk");
        assert!(name(&format!("{}@example.com", "x".repeat(64)), "a", HomeScope::User).len() <= 63);
    }
}
