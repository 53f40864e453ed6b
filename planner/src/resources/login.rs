use k8s_openapi::{
    api::core::v1::{EnvVar, EnvVarSource, Secret, SecretKeySelector},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use vdi_api::desktop_pod as keys;

use super::metadata::{labels, owner};
use crate::model::{Login, Observed};

/// The environment that tells the desktop its name and password.
pub fn login_env(session: &Observed, login: &Login) -> impl Iterator<Item = EnvVar> {
    let user = login.user_env.clone().map(|name| EnvVar { name, value: Some(login.user.clone()), value_from: None });
    let secret = SecretKeySelector { name: secret_name(session, login), key: PASSWORD.to_owned(), optional: None };
    let source = EnvVarSource { secret_key_ref: Some(secret), ..Default::default() };
    let password = EnvVar { name: login.password_env.clone(), value: None, value_from: Some(source) };
    user.into_iter().chain([password])
}

/// From these the gateway derives what to log in with.
pub fn login_annotations(login: &Login) -> [(String, String); 2] {
    [(keys::LOGIN_USER, &login.user), (keys::LOGIN_KEY, &login.key)].map(|(key, value)| (key.to_owned(), value.clone()))
}

/// A name that has only ever one content: it has the session's uid and the name of the key in it.
fn secret_name(session: &Observed, login: &Login) -> String {
    format!("vdi-login-{}-{}", session.uid, login.key)
}

const PASSWORD: &str = "password";

/// Keeps the password out of the pod, which more people can read. It is deleted with the session.
pub fn login_secret(session: &Observed, login: &Login) -> Secret {
    let pairs = [("username", &login.user), (PASSWORD, &login.password)];
    Secret {
        metadata: ObjectMeta {
            name: Some(secret_name(session, login)),
            namespace: Some(session.namespace.clone()),
            labels: Some(labels([("app.kubernetes.io/name", "vdi-login"), (keys::SESSION, &session.name)])),
            owner_references: Some(vec![owner(session)]),
            ..Default::default()
        },
        type_: Some("kubernetes.io/basic-auth".to_owned()),
        string_data: Some(pairs.map(|(key, value)| (key.to_owned(), value.clone())).into()),
        immutable: Some(true),
        data: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_sessions_secret_is_the_one_in_the_snapshot() {
        insta::assert_yaml_snapshot!("login", &login_secret(&fixture::observed(), &fixture::login()));
    }
}
