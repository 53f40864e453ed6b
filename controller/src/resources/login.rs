use std::fmt::{self, Debug};

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, Secret, SecretKeySelector};
use kube::api::ObjectMeta;
use vdi_api::{
    BasicAuth,
    desktop_pod::{LOGIN_KEY, LOGIN_USER},
};
use vdi_service::LoginKey;

use super::{SESSION_LABEL, labels, owner};
use crate::observe::Observed;

/// What a session's desktop asks its visitors for.
#[derive(Clone, PartialEq)]
pub struct Login {
    user: String,
    user_env: Option<String>,
    password_env: String,
    /// The name of the key that the password follows from.
    key: String,
    password: String,
}

impl Login {
    pub fn of(session_uid: &str, asked: &BasicAuth, key: &LoginKey) -> Self {
        let BasicAuth { user, user_env, password_env } = asked.clone();
        Self { user, user_env, password_env, key: key.name().to_owned(), password: key.password(session_uid) }
    }

    /// The same for the same password, and never another session's: what is there already is what is wanted.
    fn secret_name(&self, session: &Observed) -> String {
        format!("vdi-login-{}-{}", session.uid, self.key)
    }

    /// Where the desktop has the name and the password from.
    pub fn env(&self, session: &Observed) -> impl Iterator<Item = EnvVar> {
        let user = self.user_env.clone().map(|name| EnvVar { name, value: Some(self.user.clone()), value_from: None });
        let secret = SecretKeySelector { name: self.secret_name(session), key: PASSWORD.to_owned(), optional: None };
        let source = EnvVarSource { secret_key_ref: Some(secret), ..Default::default() };
        let password = EnvVar { name: self.password_env.clone(), value: None, value_from: Some(source) };
        user.into_iter().chain([password])
    }

    /// From which the gateway knows what to say.
    pub fn annotations(&self) -> [(String, String); 2] {
        [(LOGIN_USER, &self.user), (LOGIN_KEY, &self.key)].map(|(key, value)| (key.to_owned(), value.clone()))
    }
}

impl Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "Login({} by key {})", self.user, self.key)
    }
}

const PASSWORD: &str = "password";

/// What the desktop has its password from, so that it isn't in the pod, which more people can read. It goes with the session.
pub fn login_secret(session: &Observed, login: &Login) -> Secret {
    let pairs = [("username", &login.user), (PASSWORD, &login.password)];
    Secret {
        metadata: ObjectMeta {
            name: Some(login.secret_name(session)),
            namespace: Some(session.namespace.clone()),
            labels: Some(labels([("app.kubernetes.io/name", "vdi-login"), (SESSION_LABEL, &session.name)])),
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
    use crate::{fixture, resources::snapshot};

    #[test]
    fn a_sessions_secret_is_the_one_in_the_snapshot() {
        snapshot::assert("login", &login_secret(&fixture::observed(), &fixture::login()));
    }

    #[test]
    fn no_password_is_in_what_may_be_logged() {
        let login = fixture::login();
        assert!(!format!("{login:?}").contains(&login.password));
    }
}
