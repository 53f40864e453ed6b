//! A key that signs tokens, and its id.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, tz::TimeZone};
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::{base64url::base64url, crypto};

/// The `kid` of a key: when it was made and a random number, as in `20260101T120000Z-1f2e3d4c`. It is also the name of
/// the key's entry in the Secret, which therefore shows how old each key is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId {
    made: Timestamp,
    random: String,
}

const MADE: &str = "%Y%m%dT%H%M%SZ";

impl KeyId {
    fn new(made: Timestamp, random: [u8; 4]) -> Self {
        let made = Timestamp::from_second(made.as_second()).unwrap_or(made);
        Self { made, random: format!("{:08x}", u32::from_be_bytes(random)) }
    }

    pub fn made(&self) -> Timestamp {
        self.made
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}-{}", self.made.to_zoned(TimeZone::UTC).strftime(MADE), self.random)
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0:?} is not a key id such as 20260101T120000Z-1f2e3d4c")]
pub struct NotAKeyId(String);

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let wrong = || NotAKeyId(text.to_owned());
        let (made, random) = text.split_once('-').ok_or_else(wrong)?;
        let made = jiff::civil::DateTime::strptime(MADE, made).ok().and_then(|made| made.to_zoned(TimeZone::UTC).ok());
        let id = Self { made: made.ok_or_else(wrong)?.timestamp(), random: random.to_owned() };
        let is_hex = random.len() == 8 && random.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        // Each id has only one spelling.
        (is_hex && id.to_string() == text).then_some(id).ok_or_else(wrong)
    }
}

/// An ECDSA key on P-256, for ES256 ([RFC 7518, 3.4]).
///
/// [RFC 7518, 3.4]: https://www.rfc-editor.org/rfc/rfc7518#section-3.4
#[derive(Clone)]
pub struct Key {
    pub id: KeyId,
    pub(super) signing: EncodingKey,
    pub(super) verifying: DecodingKey,
    public: Value,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("key {0} is not a private P-256 key in PKCS #8")]
    NotAKey(KeyId),
    #[error("no random numbers from the operating system")]
    NoRandomness,
}

impl Key {
    /// A new key, and its PKCS #8 form to store.
    pub fn generate(now: Timestamp) -> Result<(Self, Vec<u8>), KeyError> {
        let random = SystemRandom::new();
        let mut bytes = [0; 4];
        random.fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| KeyError::NoRandomness)?;
        let key = Self::from_pkcs8(KeyId::new(now, bytes), pkcs8.as_ref())?;
        Ok((key, pkcs8.as_ref().to_vec()))
    }

    pub fn from_pkcs8(id: KeyId, pkcs8: &[u8]) -> Result<Self, KeyError> {
        // Every key comes from here, so this runs before anything is signed or verified.
        crypto::install();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
        let Ok(pair) = pair else { return Err(KeyError::NotAKey(id)) };
        // An uncompressed point (SEC 1): 0x04, and two coordinates of 32 bytes.
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (base64url(x), base64url(y));
        let Ok(verifying) = DecodingKey::from_ec_components(&x, &y) else { return Err(KeyError::NotAKey(id)) };
        let public =
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id.to_string(), "alg": "ES256", "use": "sig" });
        Ok(Self { id, signing: EncodingKey::from_ec_der(pkcs8), verifying, public })
    }

    /// The public key, as a JSON Web Key ([RFC 7517]).
    ///
    /// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517#section-4
    pub fn public(&self) -> &Value {
        &self.public
    }
}

/// Without the private key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_says_when_the_key_was_made_and_parses_back() {
        let made: Timestamp = "2026-01-01T12:00:00.9Z".parse().unwrap();
        let id = KeyId::new(made, [0x1f, 0x2e, 0x3d, 0x4c]);
        assert_eq!(id.to_string(), "20260101T120000Z-1f2e3d4c");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn what_is_not_a_key_id_is_refused() {
        for text in [
            "",
            "tls.key",
            "20260101T120000Z",
            "20260101T120000Z-1F2E3D4C",
            "20260101T120000Z-1f2e3d4c5",
            "20261301T120000Z-1f2e3d4c",
        ] {
            assert_eq!(text.parse::<KeyId>(), Err(NotAKeyId(text.to_owned())));
        }
    }

    #[test]
    fn a_stored_key_is_the_same_when_it_is_read_back() {
        let (key, pkcs8) = Key::generate(Timestamp::UNIX_EPOCH).unwrap();
        let again = Key::from_pkcs8(key.id.clone(), &pkcs8).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(Key::from_pkcs8(key.id, &pkcs8[1..]).is_err());
    }

    #[test]
    fn a_log_line_has_only_the_id_of_a_key() {
        let (key, _) = Key::generate(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(format!("{key:?}"), format!("Key({:?})", key.id));
    }
}
