//! The passwords of desktops that require one. A password is derived from a key and the session, so that the controller, which
//! passes it to the desktop, and the gateway, which sends it on behalf of users, agree without reading each other's Secrets.

use std::{path::Path, str::FromStr};

use anyhow::{Context, Result, ensure};
use ring::hmac;

/// Newest first. New passwords use the newest key; desktops with passwords of older keys may still run.
#[derive(Clone, Debug, Default)]
pub struct LoginKeys(Vec<LoginKey>);

#[derive(Clone, Debug)]
pub struct LoginKey {
    name: String,
    key: hmac::Key,
}

/// The minimum length of a key in characters. 32 hexadecimal digits are 128 bits.
const SHORTEST: usize = 32;

impl LoginKeys {
    /// Reads the keys from a file, one a line. Without a file there are none.
    ///
    /// # Errors
    /// When the file can't be read, contains no key, or contains one that is too short.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        text.parse().with_context(|| format!("reading {}", file.display()))
    }

    /// `None` if there are no keys.
    pub fn newest(&self) -> Option<&LoginKey> {
        self.0.first()
    }

    pub fn named(&self, name: &str) -> Option<&LoginKey> {
        self.0.iter().find(|key| key.name == name)
    }
}

impl FromStr for LoginKeys {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        ensure!(!lines.is_empty(), "there is no key; create one with `openssl rand -hex 32`");
        let short = lines.iter().position(|line| line.len() < SHORTEST);
        if let Some(number) = short {
            anyhow::bail!(
                "key {} has fewer than {SHORTEST} characters; create one with `openssl rand -hex 32`",
                number + 1
            );
        }
        Ok(Self(lines.into_iter().map(LoginKey::of).collect()))
    }
}

impl LoginKey {
    fn of(secret: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Self { name: hex::encode(&hmac::sign(&key, b"name").as_ref()[..4]), key }
    }

    /// Eight hexadecimal digits that identify the key and reveal nothing else about it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The password of a session: 128 bits as hexadecimal digits, which every image accepts.
    pub fn password(&self, session_uid: &str) -> String {
        hex::encode(&hmac::sign(&self.key, format!("password\n{session_uid}").as_bytes()).as_ref()[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210fedcba9876543210";

    fn keys(text: &str) -> LoginKeys {
        text.parse().unwrap()
    }

    #[test]
    fn each_session_and_each_key_has_a_password_of_its_own_and_always_the_same() {
        let (old, new) = (keys(OLD), keys(NEW));
        let password = |keys: &LoginKeys, uid| keys.newest().unwrap().password(uid);
        assert_eq!(password(&old, "1"), password(&keys(OLD), "1"));
        assert_eq!(password(&old, "1").len(), 32);
        assert_ne!(password(&old, "1"), password(&old, "2"));
        assert_ne!(password(&old, "1"), password(&new, "1"));
    }

    /// Its desktops run on while the programs are upgraded, and some gateways are older than others meanwhile.
    #[test]
    fn a_desktop_has_the_password_that_the_last_release_derived() {
        let recorded = include_str!("../../tests/last-release/formats/login.json");
        let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
        let text = |field: &str| recorded[field].as_str().unwrap();
        let keys = keys(text("key"));
        let key = keys.named(text("name")).unwrap();
        assert_eq!(key.password(text("uid")), text("password"));
    }

    #[test]
    fn what_was_made_with_an_older_key_is_still_known_by_its_name() {
        let old = keys(OLD);
        let both = keys(&format!("{NEW}\n\n  {OLD}\n"));
        let old = old.newest().unwrap();
        assert_ne!(both.newest().unwrap().name(), old.name());
        assert_eq!(both.named(old.name()).unwrap().password("1"), old.password("1"));
        assert!(both.named("00000000").is_none());
        assert!(LoginKeys::default().newest().is_none());
    }

    #[test]
    fn a_file_without_keys_or_with_one_that_can_be_guessed_is_refused() {
        for (text, problem) in [("", "no key"), ("\n \n", "no key"), (&format!("{OLD}\nsecret"), "key 2 has fewer")] {
            let said = text.parse::<LoginKeys>().unwrap_err().to_string();
            assert!(said.contains(problem) && said.contains("openssl rand"), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn nothing_of_a_key_is_in_what_is_logged() {
        assert!(!format!("{:?}", keys(OLD)).contains(OLD));
    }
}
