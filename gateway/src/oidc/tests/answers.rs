//! Answers that are invalid, too long, or never come.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, pause, resume};

use super::fake::{CODE, DISCOVERY, Fake, KEYS, KID, Reply, TOKEN, USER_INFO, header, token_answer, with};
use crate::oidc::{
    Attempt,
    http::{LONGEST, PATIENCE},
};

const PATHS: [&str; 4] = [DISCOVERY, KEYS, TOKEN, USER_INFO];

/// The answer that each endpoint has to give for a sign-in, which takes all of them.
fn good(fake: &Fake, attempt: &Attempt, path: &str) -> Value {
    let claims = with(fake.claims(attempt), json!({ "email": null }));
    match path {
        DISCOVERY => fake.discovery(),
        KEYS => json!({ "keys": [fake.key.public(KID)] }),
        TOKEN => token_answer(&fake.key.signed(&header(), &claims)),
        _ => json!({ "sub": "a-1", "email": "alice@example.com", "email_verified": true }),
    }
}

/// The result, with one path that replies differently.
async fn with_reply(fake: &Fake, attempt: &Attempt, path: &str, reply: Reply) -> Result<(), String> {
    for path in PATHS {
        fake.says(path, good(fake, attempt, path));
    }
    fake.replies(path, reply);
    fake.provider().account(attempt, CODE).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_invalid_answer_of_the_provider_signs_nobody_in() {
    let fake = Fake::start().await;
    let attempt = Attempt::begin().unwrap();
    for path in PATHS {
        let good = good(&fake, &attempt, path);
        // The redirect leads to a valid answer.
        fake.says("/elsewhere", good.clone());
        for (why, reply) in [
            ("it is an error", Reply::Text(StatusCode::INTERNAL_SERVER_ERROR, good.to_string())),
            ("it says no", Reply::Text(StatusCode::BAD_REQUEST, r#"{"error": "invalid_grant"}"#.to_owned())),
            ("it is no JSON", Reply::Text(StatusCode::OK, "<html>".to_owned())),
            ("it is empty", Reply::Text(StatusCode::OK, String::new())),
            ("it leads elsewhere", Reply::Redirect("/elsewhere")),
            ("it is cut off", Reply::CutOff),
        ] {
            assert!(with_reply(&fake, &attempt, path, reply).await.is_err(), "{path}: {why}");
        }
        with_reply(&fake, &attempt, path, Reply::Json(good)).await.expect(path);
    }
    assert!(fake.asked("/elsewhere").is_empty());
}

#[tokio::test]
async fn an_answer_of_the_provider_is_read_up_to_a_mebibyte_and_no_further() {
    let fake = Fake::start().await;
    let attempt = Attempt::begin().unwrap();
    for path in PATHS {
        let good = good(&fake, &attempt, path);
        let padded = |length: usize| {
            let good = good.to_string();
            Reply::Text(StatusCode::OK, format!("{good}{}", " ".repeat(length - good.len())))
        };
        with_reply(&fake, &attempt, path, padded(LONGEST)).await.expect(path);
        for reply in [padded(LONGEST + 1), Reply::Endless(good.clone())] {
            let error = with_reply(&fake, &attempt, path, reply).await.unwrap_err();
            assert!(error.contains("more than 1048576 bytes"), "{path}: {error}");
        }
    }
}

#[tokio::test]
async fn a_silent_provider_is_waited_for_no_longer_than_ten_seconds() {
    let fake = Fake::start().await;
    let attempt = Attempt::begin().unwrap();
    for path in PATHS {
        for reply in [Reply::Silence, Reply::Stalled] {
            // Once the gateway waits, time is paused, and advances as soon as nothing else happens.
            let stop_the_clock = async {
                fake.hangs().await;
                pause();
                Instant::now()
            };
            let (answer, since) = tokio::join!(with_reply(&fake, &attempt, path, reply), stop_the_clock);
            let waited = since.elapsed();
            resume();
            let error = answer.unwrap_err();
            assert!(error.contains("no answer within 10s"), "{path}: {error}");
            assert!(waited < PATIENCE + Duration::from_secs(1), "{path}: {waited:?}");
        }
    }
}
