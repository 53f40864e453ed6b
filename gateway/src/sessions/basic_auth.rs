//! The user and password that a desktop asks for, which the gateway sends so that nobody has to know them.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use vdi_api::desktop_pod::{LOGIN_KEY, LOGIN_USER};
use vdi_service::LoginKeys;

/// The credentials of a desktop, from the annotations that the controller writes on its pod.
#[derive(Clone, Debug, PartialEq)]
pub struct BasicAuth {
    user: String,
    /// The name of the key that the password is derived from.
    key: String,
}

impl BasicAuth {
    /// `None` if the desktop asks for no password.
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key| annotations.get(key).cloned();
        Some(Self { user: text(LOGIN_USER)?, key: text(LOGIN_KEY)? })
    }

    /// The value of the header `Authorization` ([RFC 7617]); `None` if the key is not among these.
    ///
    /// [RFC 7617]: https://www.rfc-editor.org/rfc/rfc7617
    pub fn authorization(&self, session_uid: &str, keys: &LoginKeys) -> Option<HeaderValue> {
        let Some(key) = keys.named(&self.key) else {
            tracing::warn!(
                session_uid,
                key = self.key,
                "the key of this desktop's password is not among the login keys any more; once it is suspended and \
                 resumed, it has another password"
            );
            return None;
        };
        let pair = STANDARD.encode(format!("{}:{}", self.user, key.password(session_uid)));
        let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desktops_password_is_sent_if_its_key_is_known() {
        let keys: LoginKeys = "a key of at least 32 characters, for tests".parse().unwrap();
        let key = keys.newest().unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let annotations: BTreeMap<_, _> = [pair(LOGIN_USER, "desk"), pair(LOGIN_KEY, key.name())].into();
        let basic_auth = BasicAuth::of(&annotations).unwrap();

        let said = basic_auth.authorization("1", &keys).unwrap();
        let (scheme, encoded) = said.to_str().unwrap().split_once(' ').unwrap();
        let decoded = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
        assert_eq!((scheme, decoded), ("Basic", format!("desk:{}", key.password("1"))));
        assert!(!format!("{said:?}").contains(encoded), "it is not to be logged");
        assert_eq!(basic_auth.authorization("1", &LoginKeys::default()), None);
        assert_eq!(BasicAuth::of(&BTreeMap::new()), None);
    }
}
