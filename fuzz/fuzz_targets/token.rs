//! Only tokens that the gateway issued are accepted; and of those signed with its key, only those with its claims, each once.

#![no_main]

use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Map, Value};
use token::{Expected, Key, KeyRing, Purpose, base64url, verify};

#[allow(dead_code, unused_imports)]
#[path = "../../gateway/src/token/mod.rs"]
mod token;

const NOW: i64 = 1_767_268_800;
const EXPECTED: Expected = Expected {
    purpose: Purpose::Session,
    issuer: "https://vdi.example.com",
    session_uid: Some("7f3a9c1e"),
    host: "alice.vdi.example.com",
};

struct Keys {
    ring: KeyRing,
    header: String,
    pair: EcdsaKeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let (key, pkcs8) = Key::generate(now()).unwrap();
    let header = format!(r#"{{"typ":"JWT","alg":"ES256","kid":"{}"}}"#, key.id);
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &SystemRandom::new()).unwrap();
    Keys { ring: KeyRing::new(vec![key]), header, pair }
});

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn signed(header: &str, claims: &[u8]) -> String {
    let body = format!("{}.{}", base64url(header.as_bytes()), base64url(claims));
    let signature = KEYS.pair.sign(&SystemRandom::new(), body.as_bytes()).unwrap();
    format!("{body}.{}", base64url(signature.as_ref()))
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(verify(text, &KEYS.ring, &EXPECTED, now()).is_err(), "{text:?}");
        let other_header = verify(&signed(text, CLAIMS), &KEYS.ring, &EXPECTED, now());
        let same = serde_json::from_str::<Value>(text).ok() == serde_json::from_str(&KEYS.header).ok();
        assert!(other_header.is_err() || same, "{text:?}");
    }
    let Ok(claims) = verify(&signed(&KEYS.header, bytes), &KEYS.ring, &EXPECTED, now()) else { return };
    let found: Map<String, Value> = serde_json::from_slice(bytes).unwrap();
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["aud", "auth_time", "email", "exp", "host", "iat", "iss", "jti", "nbf", "sub"]);
    // As many members as names, so none is duplicated.
    assert_eq!(serde_json::to_value(&claims).unwrap(), Value::Object(found));
    assert_eq!((&*claims.iss, &*claims.host), (EXPECTED.issuer, EXPECTED.host));
    assert!(claims.iat <= NOW + 30 && claims.nbf <= NOW + 30 && claims.exp > NOW - 30);
    assert!(claims.exp.saturating_sub(claims.iat) <= 3600 && claims.exp.saturating_sub(claims.auth_time) <= 12 * 3600);
});

const CLAIMS: &[u8] = br#"{"iss":"https://vdi.example.com","aud":"vdi-session:7f3a9c1e","sub":"a","email":"a@b.c","host":"alice.vdi.example.com","iat":1767268800,"nbf":1767268800,"exp":1767272400,"auth_time":1767268800,"jti":"x"}"#;
