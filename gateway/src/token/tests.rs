//! Valid tokens, and every way to forge or misuse one that we could think of.

use std::{collections::BTreeMap, time::Duration};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use vdi_api::Email;

use super::*;
use crate::fixture::noon;

const SCHEDULE: Schedule = Schedule { rotation: Duration::from_secs(24 * 3600), spread: Duration::from_secs(120) };
const UID: &str = "7f3a9c1e";
const EXPECTED: Expected = Expected {
    purpose: Purpose::Session,
    issuer: "https://vdi.example.com",
    session_uid: Some(UID),
    host: "alice.vdi.example.com",
};

fn at(seconds: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(seconds)
}

fn key() -> Key {
    Key::generate(noon()).unwrap().0
}

/// Signed with one of our keys, whatever the content.
fn signed(key: &Key, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    with_signature(key, &message)
}

fn with_signature(key: &Key, message: &str) -> String {
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key.signing, jsonwebtoken::Algorithm::ES256).unwrap();
    format!("{message}.{signature}")
}

fn header(key: &Key) -> Value {
    json!({ "alg": "ES256", "typ": "JWT", "kid": key.id.to_string() })
}

fn claims() -> Value {
    json!({
        "iss": "https://vdi.example.com", "aud": "vdi-session:7f3a9c1e", "sub": "alice", "email": "alice@example.com",
        "host": "alice.vdi.example.com", "iat": noon().as_second(), "nbf": noon().as_second(),
        "exp": at(3600).as_second(), "auth_time": noon().as_second(), "jti": "1",
    })
}

/// The grant of alice's session token.
fn grant(email: &Email) -> Grant<'_> {
    Grant {
        purpose: Purpose::Session,
        issuer: EXPECTED.issuer,
        session_uid: UID,
        subject: "alice",
        email,
        host: EXPECTED.host,
        session_ends: None,
        signed_in: None,
    }
}

/// With one field set to another value; `null` removes it.
fn with(mut object: Value, field: &str, value: Value) -> Value {
    match value {
        Value::Null => drop(object.as_object_mut().unwrap().remove(field)),
        value => object[field] = value,
    }
    object
}

/// Whoever is signed in stays so while the gateways are upgraded, and meets gateways of both versions meanwhile.
#[test]
fn a_key_and_the_tokens_of_the_last_release_are_valid() {
    let recorded = include_str!("../../../tests/last-release/formats/tokens.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let text = |field: &str| recorded[field].as_str().unwrap();
    let pkcs8 = STANDARD.decode(text("pkcs8")).unwrap();
    let keys = KeyRing::new(vec![Key::from_pkcs8(text("id").parse().unwrap(), &pkcs8).unwrap()]);
    for (field, purpose, session_uid) in
        [("session", Purpose::Session, UID), ("launch", Purpose::Launch, UID), ("login", Purpose::Login, "portal")]
    {
        let expected = Expected { purpose, session_uid: Some(session_uid), ..EXPECTED };
        let claims = verify(text(field), &keys, &expected, at(30));
        assert_eq!(claims.map(|claims| claims.email).as_deref(), Ok("alice@example.com"), "{field}");
    }
}

/// A gateway accepts no claim that it doesn't know, so a new one has to be accepted for a release before it is written.
#[test]
fn tokens_have_the_header_and_the_claims_that_gateways_of_the_last_release_accept() {
    let recorded = include_str!("../../../tests/last-release/formats/tokens.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let email = "alice@example.com".parse().unwrap();
    let today = sign(&grant(&email), &KeyRing::new(vec![key()]), &SCHEDULE, noon()).unwrap();
    let names = |token: &str| {
        let parts = token.split('.').take(2).map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let parts = parts.map(|part| serde_json::from_slice::<BTreeMap<String, Value>>(&part).unwrap());
        parts.map(|part| part.into_keys().collect()).collect::<Vec<Vec<String>>>()
    };
    assert_eq!(names(&today), names(recorded["session"].as_str().unwrap()));
}

#[test]
fn what_is_signed_is_verified_until_the_session_or_the_hour_is_over() {
    let keys = KeyRing::new(vec![key()]);
    let email = "alice@example.com".parse().unwrap();
    let grant = |session_ends| Grant { session_ends, ..grant(&email) };
    for (session_ends, lives) in [(None, 3600), (Some(at(600)), 600), (Some(at(7200)), 3600)] {
        let token = sign(&grant(session_ends), &keys, &SCHEDULE, noon()).unwrap();
        let verified = verify(&token, &keys, &EXPECTED, at(lives + 29)).unwrap();
        assert_eq!((verified.email.as_str(), verified.exp), ("alice@example.com", at(lives).as_second()));
        assert_eq!(verify(&token, &keys, &EXPECTED, at(lives + 30)), Err(TokenError::Expired));
        assert!(token.len() < 700, "{}", token.len());
    }
    let two = [sign(&grant(None), &keys, &SCHEDULE, noon()), sign(&grant(None), &keys, &SCHEDULE, noon())];
    let [one, other] = two.map(|token| verify(&token.unwrap(), &keys, &EXPECTED, noon()).unwrap().jti);
    assert_ne!(one, other);
}

#[test]
fn a_token_that_is_renewed_again_and_again_ends_half_a_day_after_the_sign_in() {
    let keys = KeyRing::new(vec![key()]);
    let email = "alice@example.com".parse().unwrap();
    let renewed = |after: i64| {
        let grant = Grant { signed_in: Some(noon()), ..grant(&email) };
        let token = sign(&grant, &keys, &SCHEDULE, at(after)).unwrap();
        verify(&token, &keys, &EXPECTED, at(after)).map(|claims| claims.exp - noon().as_second())
    };
    const HALF_A_DAY: i64 = 12 * 3600;
    assert_eq!(renewed(60), Ok(3660));
    assert_eq!(renewed(HALF_A_DAY - 60), Ok(HALF_A_DAY));
    assert_eq!(renewed(HALF_A_DAY + 60), Err(TokenError::Expired));
}

#[test]
fn a_sign_in_in_the_future_by_a_skewed_clock_counts_as_just_now() {
    let keys = KeyRing::new(vec![key()]);
    let email = "alice@example.com".parse().unwrap();
    let grant = Grant { signed_in: Some(at(20)), ..grant(&email) };
    let token = sign(&grant, &keys, &SCHEDULE, noon()).unwrap();
    assert_eq!(verify(&token, &keys, &EXPECTED, noon()).map(|claims| claims.auth_time), Ok(noon().as_second()));
}

#[test]
fn a_token_lives_through_a_rotation_and_not_longer_than_its_key() {
    let (old, new) = (key(), Key::generate(at(60)).unwrap().0);
    let token = signed(&old, &header(&old), &claims());
    let both = KeyRing::new(vec![new.clone(), old.clone()]);
    assert!(verify(&token, &both, &EXPECTED, at(61)).is_ok());
    assert_eq!(verify(&token, &KeyRing::new(vec![new]), &EXPECTED, at(61)), Err(TokenError::UnknownKey));
}

#[test]
fn a_header_that_is_not_ours_is_refused_before_anything_is_verified() {
    // One id in forty has no letters, and is the same in upper case.
    let upper = |key: &Key| key.id.to_string().to_uppercase();
    let key = std::iter::repeat_with(key).find(|key| upper(key) != key.id.to_string()).unwrap();
    let keys = KeyRing::new(vec![key.clone()]);
    let public = key.public().clone();
    for (field, value, refused) in [
        ("alg", json!("none"), TokenError::Header),
        ("alg", json!("None"), TokenError::Header),
        ("alg", json!("HS256"), TokenError::Header),
        ("alg", json!("ES384"), TokenError::Header),
        ("alg", json!("es256"), TokenError::Header),
        ("alg", Value::Null, TokenError::Header),
        ("typ", json!("at+jwt"), TokenError::Header),
        ("kid", Value::Null, TokenError::Header),
        ("kid", json!("../../etc/passwd"), TokenError::UnknownKey),
        ("kid", json!("20260101T120000Z-00000000"), TokenError::UnknownKey),
        ("kid", json!(upper(&key)), TokenError::UnknownKey),
        ("kid", json!([key.id.to_string()]), TokenError::Header),
        ("crit", json!(["exp"]), TokenError::Header),
        ("crit", json!([]), TokenError::Header),
        ("b64", json!(false), TokenError::Header),
        ("jwk", public, TokenError::Header),
        ("jku", json!("https://evil.example.com/jwks.json"), TokenError::Header),
        ("x5u", json!("https://evil.example.com/cert"), TokenError::Header),
        ("cty", json!("JWT"), TokenError::Header),
    ] {
        let token = signed(&key, &with(header(&key), field, value.clone()), &claims());
        assert_eq!(verify(&token, &keys, &EXPECTED, noon()), Err(refused), "{field}: {value}");
    }
    let twice = format!(r#"{{"alg":"none","alg":"ES256","typ":"JWT","kid":"{}"}}"#, key.id);
    let message = format!("{}.{}", base64url(twice.as_bytes()), base64url(claims().to_string().as_bytes()));
    assert_eq!(verify(&with_signature(&key, &message), &keys, &EXPECTED, noon()), Err(TokenError::Header));
}

/// The classic attack: the public key, which everybody has, used as a shared secret.
#[test]
fn a_token_that_is_signed_with_the_public_key_is_refused() {
    let key = key();
    let keys = KeyRing::new(vec![key.clone()]);
    for (alg, secret) in [("HS256", key.public().to_string()), ("ES256", key.public()["x"].to_string())] {
        let header = with(header(&key), "alg", json!(alg));
        let message =
            format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims().to_string().as_bytes()));
        let secret = ::ring::hmac::Key::new(::ring::hmac::HMAC_SHA256, secret.as_bytes());
        let tag = ::ring::hmac::sign(&secret, message.as_bytes());
        let token = format!("{message}.{}", base64url(tag.as_ref()));
        assert!(
            matches!(verify(&token, &keys, &EXPECTED, noon()), Err(TokenError::Header | TokenError::Signature)),
            "{alg}"
        );
    }
}

#[test]
fn a_token_with_any_bit_changed_is_refused() {
    let key = key();
    let keys = KeyRing::new(vec![key.clone()]);
    let token = signed(&key, &header(&key), &claims());
    assert!(verify(&token, &keys, &EXPECTED, noon()).is_ok());
    for place in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[place] ^= 1 << (place % 7);
        let changed = String::from_utf8(bytes).unwrap();
        assert!(verify(&changed, &keys, &EXPECTED, noon()).is_err(), "byte {place}: {changed}");
    }
    let another = Key::generate(noon()).unwrap().0;
    let stolen_name = signed(&another, &header(&key), &claims());
    assert_eq!(verify(&stolen_name, &keys, &EXPECTED, noon()), Err(TokenError::Signature));
}

#[test]
fn what_is_not_three_parts_is_refused() {
    let key = key();
    let keys = KeyRing::new(vec![key.clone()]);
    let token = signed(&key, &header(&key), &claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (head, body) = message.split_once('.').unwrap();
    let zero = base64url(&[0; 64]);
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        head.to_owned(),
        message.to_owned(),
        format!("{message}."),
        format!("{message}.{zero}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!(".{token}"),
        format!("{head}=.{body}.{signature}"),
        format!("{head}.{body}=.{signature}"),
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{head}..{signature}"),
        "ä.ö.ü".to_owned(),
    ] {
        assert!(verify(&text, &keys, &EXPECTED, noon()).is_err(), "{text}");
    }
}

#[test]
fn wrong_missing_duplicate_and_unknown_claims_are_refused() {
    let key = key();
    let keys = KeyRing::new(vec![key.clone()]);
    let refuse = |claims: &Value| verify(&signed(&key, &header(&key), claims), &keys, &EXPECTED, noon()).unwrap_err();
    for (field, value, refused) in [
        ("iss", json!("https://evil.example.com"), TokenError::Issuer),
        ("iss", json!("https://vdi.example.com/"), TokenError::Issuer),
        ("aud", json!("vdi-session:another"), TokenError::Audience),
        ("aud", json!("7f3a9c1e"), TokenError::Audience),
        ("aud", json!(["vdi-session:7f3a9c1e"]), TokenError::Claims),
        ("host", json!("bob.vdi.example.com"), TokenError::Host),
        ("host", json!("vdi.example.com"), TokenError::Host),
        ("host", json!("ALICE.vdi.example.com"), TokenError::Host),
        ("nbf", json!(at(31).as_second()), TokenError::NotYet),
        ("iat", json!(at(31).as_second()), TokenError::NotYet),
        ("exp", json!(at(-30).as_second()), TokenError::Expired),
        ("exp", json!(at(3601).as_second()), TokenError::TooLongLived),
        ("exp", json!(i64::MAX), TokenError::Claims),
        ("exp", json!("2027"), TokenError::Claims),
        ("exp", json!(1e300), TokenError::Claims),
        ("iat", json!(i64::MIN), TokenError::Claims),
        ("admin", json!(true), TokenError::Claims),
    ] {
        assert_eq!(refuse(&with(claims(), field, value.clone())), refused, "{field}: {value}");
    }
    for field in ["iss", "aud", "sub", "email", "host", "iat", "nbf", "exp", "jti"] {
        assert_eq!(refuse(&with(claims(), field, Value::Null)), TokenError::Claims, "{field}");
    }
    let body = claims().to_string();
    for doubled in [
        body.replacen('{', r#"{"email":"bob@example.com","#, 1),
        body.replacen('}', r#","exp":99999999999}"#, 1),
        format!("[{body}]"),
        format!("{body}{body}"),
        body[..body.len() - 1].to_owned(),
        "null".to_owned(),
    ] {
        let message = format!("{}.{}", base64url(header(&key).to_string().as_bytes()), base64url(doubled.as_bytes()));
        let refused = verify(&with_signature(&key, &message), &keys, &EXPECTED, noon());
        assert_eq!(refused, Err(TokenError::Claims), "{doubled}");
    }
}

#[test]
fn clocks_may_be_half_a_minute_apart_and_no_more() {
    let key = key();
    let keys = KeyRing::new(vec![key.clone()]);
    let token = signed(&key, &header(&key), &claims());
    for (seconds, expected) in [
        (-31, Err(TokenError::NotYet)),
        (-30, Ok(())),
        (0, Ok(())),
        (3629, Ok(())),
        (3630, Err(TokenError::Expired)),
        (i64::from(i32::MAX), Err(TokenError::Expired)),
    ] {
        assert_eq!(verify(&token, &keys, &EXPECTED, at(seconds)).map(drop), expected, "{seconds} s");
    }
}

#[test]
fn a_token_longer_than_any_of_ours_is_not_even_read() {
    let key = key();
    let keys = KeyRing::new(vec![key.clone()]);
    let long = with(claims(), "sub", json!("x".repeat(3000)));
    assert_eq!(verify(&signed(&key, &header(&key), &long), &keys, &EXPECTED, noon()), Err(TokenError::TooLong));
    assert_eq!(verify(&".".repeat(verify::LONGEST + 1), &keys, &EXPECTED, noon()), Err(TokenError::TooLong));
    assert_eq!(verify(&".".repeat(verify::LONGEST), &keys, &EXPECTED, noon()), Err(TokenError::Header), "it is read");
}

#[test]
fn a_link_is_valid_for_a_minute_and_opens_no_desktop_by_itself() {
    let keys = KeyRing::new(vec![key()]);
    let email = "alice@example.com".parse().unwrap();
    let grant = |purpose| Grant { purpose, ..grant(&email) };
    let token = |purpose| sign(&grant(purpose), &keys, &SCHEDULE, noon()).unwrap();
    let launch = Expected { purpose: Purpose::Launch, ..EXPECTED };
    assert!(verify(&token(Purpose::Launch), &keys, &launch, at(89)).is_ok());
    assert_eq!(verify(&token(Purpose::Launch), &keys, &launch, at(90)), Err(TokenError::Expired));
    assert_eq!(verify(&token(Purpose::Launch), &keys, &EXPECTED, noon()), Err(TokenError::Audience));
    assert_eq!(verify(&token(Purpose::Session), &keys, &launch, noon()), Err(TokenError::Audience));
}
