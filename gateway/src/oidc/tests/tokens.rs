//! Valid ID tokens, and every way to forge or misuse one that we could think of.

use jiff::Timestamp;
use ring::hmac::{self, HMAC_SHA256};
use serde_json::json;

use super::fake::{CLIENT, CODE, DISCOVERY, Fake, KEYS, KID, SECRET, SigningKey, TOKEN, header, message, with};
use crate::{oidc::Attempt, token::base64url};

fn with_signature(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", base64url(signature))
}

#[tokio::test]
async fn a_valid_id_token_signs_in_its_subject_and_each_attempt_has_its_own_verifier() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    for _ in 0..2 {
        let attempt = Attempt::begin().unwrap();
        let address = url::Url::parse(&provider.address(&attempt, "").await.unwrap()).unwrap();
        let account = fake.account(&provider, &attempt, &fake.key.signed(&header(), &fake.claims(&attempt))).await;
        let account = account.unwrap();
        assert_eq!((account.subject.as_str(), account.email.as_str()), ("a-1", "alice@example.com"));

        let asked = fake.asked(TOKEN).pop().unwrap();
        assert!(asked.authorization.starts_with("Basic "), "the client has a secret");
        let sent = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(asked.body.as_bytes());
            pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
        };
        assert_eq!(sent("code_verifier"), Some(attempt.verifier()));
        assert_eq!(
            (sent("grant_type").unwrap().as_str(), sent("code").unwrap().as_str()),
            ("authorization_code", CODE)
        );
        assert_eq!(sent("redirect_uri").unwrap(), "https://vdi.example.com/.vdi/callback");
        let challenge = base64url(ring::digest::digest(&ring::digest::SHA256, attempt.verifier().as_bytes()).as_ref());
        assert!(address.query_pairs().any(|(name, value)| name == "code_challenge" && value == challenge), "{address}");
        assert!(address.query_pairs().any(|(name, value)| name == "nonce" && value == attempt.nonce()), "{address}");
    }
}

#[tokio::test]
async fn an_id_token_that_the_provider_has_not_signed_is_refused() {
    let fake = Fake::start().await;
    let (provider, attempt, stranger) = (fake.provider(), Attempt::begin().unwrap(), SigningKey::generate());
    let claims = fake.claims(&attempt);
    let good = message(&header(), &claims);
    let signature = fake.key.signature(&good);
    let mut flipped = signature.clone();
    flipped[63] ^= 1;
    let elsewhere = with(header(), json!({ "kid": "x", "jku": format!("{}/theirs", fake.issuer) }));
    fake.says("/theirs", json!({ "keys": [stranger.public("x")] }));

    let wrong = "EC Signature was wrong";
    for (why, token, words) in [
        ("a bit is wrong", with_signature(&good, &flipped), wrong),
        ("another message is signed", with_signature(&good, &fake.key.signature("another")), wrong),
        ("zeros are good for some (CVE-2022-21449)", with_signature(&good, &[0; 64]), "Invalid signature"),
        ("it is cut short", with_signature(&good, &signature[..63]), "Invalid signature"),
        ("there is none", format!("{good}."), "Invalid signature"),
        ("another key's, under the known name", stranger.signed(&header(), &claims), wrong),
        ("another key's, without a name", stranger.signed(&json!({ "alg": "ES256" }), &claims), wrong),
        ("another key's, under its own name", stranger.signed(&elsewhere, &claims), "No matching key"),
        (
            "another key's, which it brings along",
            stranger.signed(&with(header(), json!({ "jwk": stranger.public(KID) })), &claims),
            wrong,
        ),
        ("only two parts", good.clone(), "Failed to parse"),
    ] {
        let refused = fake.account(&provider, &attempt, &token).await.unwrap_err();
        assert!(refused.contains(words), "{why}: {refused}");
    }
    assert!(fake.asked("/theirs").is_empty(), "a token doesn't say where its key is");
    let asked = fake.asked(DISCOVERY).len();
    assert_eq!(asked, 2, "at first, and once for the lack of a key, whatever tokens come");
    fake.account(&provider, &attempt, &with_signature(&good, &signature)).await.unwrap();
}

#[tokio::test]
async fn an_id_token_never_chooses_its_algorithm() {
    let fake = Fake::start().await;
    let (provider, attempt) = (fake.provider(), Attempt::begin().unwrap());
    let claims = fake.claims(&attempt);
    // A provider that signs with shared secrets for other clients may publish such a key.
    let shared = json!({ "kty": "oct", "kid": "shared", "k": base64url(b"shared") });
    fake.says(KEYS, json!({ "keys": [fake.key.public(KID), shared] }));
    let of_alg = |alg: &str| with(header(), json!({ "alg": alg }));
    let by_secret = |kid: &str, secret: &[u8]| {
        let message = message(&json!({ "alg": "HS256", "kid": kid }), &claims);
        let signature = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret), message.as_bytes());
        with_signature(&message, signature.as_ref())
    };
    let public = fake.key.public(KID).to_string();

    let disallowed = "Disallowed signature algorithm";
    for (why, token, words) in [
        ("unsigned", format!("{}.", message(&of_alg("none"), &claims)), "No signature found"),
        ("unsigned, with a signature", fake.key.signed(&of_alg("none"), &claims), "No signature found"),
        ("unsigned, spelled otherwise", format!("{}.", message(&of_alg("None"), &claims)), "Failed to parse"),
        ("with the client's secret", by_secret(KID, SECRET.as_bytes()), disallowed),
        ("with the public key, a point", by_secret(KID, fake.key.point()), disallowed),
        ("with the public key, a JSON Web Key", by_secret(KID, public.as_bytes()), disallowed),
        ("with a secret that the provider publishes", by_secret("shared", b"shared"), disallowed),
        ("for keys on another curve", fake.key.signed(&of_alg("ES384"), &claims), "different CRV"),
        ("for keys of another type", fake.key.signed(&of_alg("RS256"), &claims), "No matching key"),
        ("what nobody knows", fake.key.signed(&of_alg("ES999"), &claims), "Failed to parse"),
        ("no algorithm", fake.key.signed(&json!({ "kid": KID }), &claims), "Failed to parse"),
        (
            "another kind of token",
            fake.key.signed(&with(header(), json!({ "typ": "at+jwt" })), &claims),
            "unsupported JWT type",
        ),
        (
            "something that has to be understood",
            fake.key.signed(&with(header(), json!({ "crit": ["b64"], "b64": false })), &claims),
            "critical",
        ),
    ] {
        let refused = fake.account(&provider, &attempt, &token).await.unwrap_err();
        assert!(refused.contains(words), "{why}: {refused}");
    }
    fake.account(&provider, &attempt, &fake.key.signed(&header(), &claims)).await.unwrap();
}

#[tokio::test]
async fn an_id_token_is_valid_for_this_client_of_this_provider_now_and_for_its_own_attempt() {
    let fake = Fake::start().await;
    let (provider, attempt, other) = (fake.provider(), Attempt::begin().unwrap(), Attempt::begin().unwrap());
    let now = Timestamp::now().as_second();
    let (audiences, unreadable) = ("Invalid audiences", "Failed to parse");
    for (changes, words) in [
        (json!({ "iss": "https://login.example.com" }), "Invalid issuer"),
        (json!({ "iss": format!("{}/", fake.issuer) }), "Invalid issuer"),
        (json!({ "iss": null }), unreadable),
        (json!({ "aud": "another" }), audiences),
        (json!({ "aud": "VDI-Gateway" }), audiences),
        (json!({ "aud": [] }), audiences),
        (json!({ "aud": null }), audiences),
        (json!({ "aud": [CLIENT, "another"] }), "`another` is not a trusted audience"),
        (json!({ "aud": [CLIENT, "another"], "azp": "another" }), "`another` is not a trusted audience"),
        (json!({ "aud": [CLIENT, "another"], "azp": CLIENT }), "`another` is not a trusted audience"),
        (json!({ "exp": now }), "ID token expired"),
        (json!({ "exp": now - 3600, "iat": now - 7200 }), "ID token expired"),
        (json!({ "exp": null }), unreadable),
        (json!({ "exp": "tomorrow" }), unreadable),
        (json!({ "iat": now + 400, "exp": now + 800 }), "yet to come"),
        (json!({ "iat": now + 1_000_000_000, "exp": now + 2_000_000_000 }), "yet to come"),
        (json!({ "iat": null }), unreadable),
        (json!({ "sub": null }), unreadable),
        (json!({ "nonce": "anything" }), "nonce mismatch"),
        (json!({ "nonce": "" }), "nonce mismatch"),
        (json!({ "nonce": null }), "missing nonce"),
        (json!({ "nonce": other.nonce() }), "nonce mismatch"),
    ] {
        let token = fake.key.signed(&header(), &with(fake.claims(&attempt), changes.clone()));
        let refused = fake.account(&provider, &attempt, &token).await.unwrap_err();
        assert!(refused.contains(words), "{changes}: {refused}");
    }
    // A provider whose clock is slightly ahead, and one that writes a single audience as a list.
    for changes in [json!({ "iat": now + 200 }), json!({ "aud": [CLIENT] })] {
        let token = fake.key.signed(&header(), &with(fake.claims(&attempt), changes.clone()));
        let account = fake.account(&provider, &attempt, &token).await;
        assert!(account.is_ok(), "{changes}: {account:?}");
        let replayed = fake.account(&provider, &other, &token).await.unwrap_err();
        assert!(replayed.contains("nonce mismatch"), "{replayed}");
    }
}
