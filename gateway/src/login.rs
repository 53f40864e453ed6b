//! What a desktop asks its visitors for, said in their place: people have no password of a desktop's.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use vdi_api::desktop_pod::{LOGIN_KEY, LOGIN_USER};
use vdi_service::LoginKeys;

/// As the controller has written it on the pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    user: String,
    /// The name of the key that the password follows from.
    key: String,
}

impl Login {
    /// `None` where the desktop asks for nothing.
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key| annotations.get(key).cloned();
        Some(Self { user: text(LOGIN_USER)?, key: text(LOGIN_KEY)? })
    }

    /// The value of the header `Authorization` ([RFC 7617]); `None` where the key isn't one of these.
    ///
    /// [RFC 7617]: https://www.rfc-editor.org/rfc/rfc7617
    pub fn authorization(&self, session_uid: &str, keys: &LoginKeys) -> Option<HeaderValue> {
        let Some(key) = keys.named(&self.key) else {
            tracing::warn!(
                session_uid,
                key = self.key,
                "a desktop asks for a password that follows from none of the keys in the file of --login-keys-file"
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
    fn what_a_desktop_asks_for_is_said_where_the_key_is_known() {
        let keys: LoginKeys = "a key of at least 32 characters, for tests".parse().unwrap();
        let key = keys.newest().unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let annotations: BTreeMap<_, _> = [pair(LOGIN_USER, "desk"), pair(LOGIN_KEY, key.name())].into();
        let login = Login::of(&annotations).unwrap();

        let said = login.authorization("1", &keys).unwrap();
        let (scheme, encoded) = said.to_str().unwrap().split_once(' ').unwrap();
        let decoded = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
        assert_eq!((scheme, decoded), ("Basic", format!("desk:{}", key.password("1"))));
        assert!(!format!("{said:?}").contains(encoded), "it is not to be logged");
        assert_eq!(login.authorization("1", &LoginKeys::default()), None);
        assert_eq!(Login::of(&BTreeMap::new()), None);
    }
}
