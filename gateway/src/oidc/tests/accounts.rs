//! Whose account it is: that of the person in the ID token, by an address that the provider has verified.

use serde_json::{Value, json};

use super::fake::{DISCOVERY, Fake, USER_INFO, header, with};
use crate::oidc::{Attempt, Provider};

const NOT_VERIFIED: &str = "no e-mail address that the provider has verified";

/// Claims of an ID token without an address, which is then fetched from userinfo.
fn silent() -> Value {
    json!({ "email": null, "email_verified": null })
}

fn info(changes: Value) -> Value {
    with(json!({ "sub": "a-1", "email": "alice@example.com", "email_verified": true }), changes)
}

#[tokio::test]
async fn an_account_without_a_verified_address_signs_nobody_in() {
    let fake = Fake::start().await;
    let (provider, attempt) = (fake.provider(), Attempt::begin().unwrap());
    // Not of the ID token's address.
    fake.says(USER_INFO, info(json!({ "email": "bob@example.com" })));
    for (changes, words) in [
        (json!({ "email_verified": null }), NOT_VERIFIED),
        (json!({ "email_verified": false }), NOT_VERIFIED),
        (json!({ "email_verified": "true" }), "Failed to parse"),
        (json!({ "email_verified": 1 }), "Failed to parse"),
        (json!({ "email": "alice" }), NOT_VERIFIED),
        (json!({ "email": "" }), NOT_VERIFIED),
        (json!({ "email": ["alice@example.com"] }), "Failed to parse"),
    ] {
        let token = fake.key.signed(&header(), &with(fake.claims(&attempt), changes.clone()));
        let refused = fake.account(&provider, &attempt, &token).await.unwrap_err();
        assert!(refused.contains(words), "{changes}: {refused}");
    }
    let account = fake.account(&provider, &attempt, &fake.key.signed(&header(), &fake.claims(&attempt))).await;
    assert_eq!(account.unwrap().email.as_str(), "alice@example.com");
    assert_eq!(fake.asked(USER_INFO).len(), 1, "only where the ID token doesn't say whether its address is verified");
}

#[tokio::test]
async fn an_address_from_userinfo_must_be_the_same_persons_and_verified_there() {
    let fake = Fake::start().await;
    let (provider, attempt) = (fake.provider(), Attempt::begin().unwrap());
    let silent = with(fake.claims(&attempt), silent());
    for (claims, answer, words) in [
        // Another person's, as for an access token that is not this person's.
        (json!({}), info(json!({ "sub": "b-2" })), "Invalid subject"),
        (json!({}), info(json!({ "sub": null })), "Failed to parse"),
        (json!({}), info(json!({ "email_verified": null })), NOT_VERIFIED),
        (json!({}), info(json!({ "email_verified": false })), NOT_VERIFIED),
        (json!({}), info(json!({ "email_verified": "true" })), "Failed to parse"),
        (json!({}), info(json!({ "email": null })), NOT_VERIFIED),
        // `email_verified` in the ID token is about no address.
        (json!({ "email_verified": true }), info(json!({ "email_verified": null })), NOT_VERIFIED),
    ] {
        fake.says(USER_INFO, answer.clone());
        let token = fake.key.signed(&header(), &with(silent.clone(), claims.clone()));
        let refused = fake.account(&provider, &attempt, &token).await.unwrap_err();
        assert!(refused.contains(words), "{claims}, {answer}: {refused}");
    }
    fake.says(USER_INFO, info(json!({})));
    let account = fake.account(&provider, &attempt, &fake.key.signed(&header(), &silent)).await.unwrap();
    assert_eq!(account.email.as_str(), "alice@example.com");
    assert_eq!(fake.asked(USER_INFO).pop().unwrap().authorization, "Bearer an access token");
}

/// As Microsoft Entra ID has it: `xms_edov` in place of `email_verified`.
#[tokio::test]
async fn where_another_claim_says_that_an_address_is_verified_no_other_does() {
    let fake = Fake::start().await;
    let (provider, attempt) = (fake.provider_whose_claim_is("xms_edov"), Attempt::begin().unwrap());
    let account = async |provider: &Provider, changes: &Value| {
        let token = fake.key.signed(&header(), &with(fake.claims(&attempt), changes.clone()));
        fake.account(provider, &attempt, &token).await.map(|account| account.email.to_string())
    };
    let entra = |value: Value| json!({ "email_verified": null, "xms_edov": value });
    fake.says(USER_INFO, info(json!({ "email_verified": null })));
    for value in [json!(true), json!(1), json!("1"), json!("true")] {
        let email = account(&provider, &entra(value.clone())).await;
        assert_eq!(email.as_deref(), Ok("alice@example.com"), "{value}");
        let refused = account(&fake.provider(), &entra(value)).await.unwrap_err();
        assert!(refused.contains("no claim email_verified says so"), "{refused}");
    }
    for changes in [
        // `email_verified` is true here.
        json!({}),
        json!({ "email_verified": false, "xms_edov": true }),
        json!({ "XMS_EDOV": true, "xms_edov ": true, "email_verified": null }),
        entra(json!(false)),
        entra(json!(0)),
        entra(json!(2)),
        entra(json!(-1)),
        entra(json!(1.0)),
        entra(json!("0")),
        entra(json!("false")),
        entra(json!("True")),
        entra(json!(" true")),
        entra(json!("")),
        entra(json!([true])),
        entra(json!({ "value": true })),
        json!({ "email_verified": null }),
        json!({ "email_verified": null, "additional_claims": { "xms_edov": true } }),
        // Of an address that isn't one.
        json!({ "email_verified": null, "xms_edov": true, "email": "alice" }),
    ] {
        let refused = account(&provider, &changes).await.unwrap_err();
        assert!(
            refused.contains(NOT_VERIFIED) && refused.contains("no claim xms_edov says so"),
            "{changes}: {refused}"
        );
    }
}

#[tokio::test]
async fn another_claim_is_about_the_address_from_the_same_source() {
    let fake = Fake::start().await;
    let (provider, attempt) = (fake.provider_whose_claim_is("xms_edov"), Attempt::begin().unwrap());
    let token = |changes| fake.key.signed(&header(), &with(with(fake.claims(&attempt), silent()), changes));
    fake.says(USER_INFO, info(json!({})));
    let refused = fake.account(&provider, &attempt, &token(json!({ "xms_edov": true }))).await.unwrap_err();
    assert!(refused.contains(NOT_VERIFIED), "{refused}");
    fake.says(USER_INFO, info(json!({ "email_verified": null, "xms_edov": true })));
    let account = fake.account(&provider, &attempt, &token(json!({}))).await.unwrap();
    assert_eq!(account.email.as_str(), "alice@example.com");
    let standard = token(json!({ "email": "bob@example.com", "email_verified": true }));
    let refused = fake.account(&provider, &attempt, &standard).await.unwrap_err();
    assert!(refused.contains(NOT_VERIFIED), "{refused}");
}

/// As Okta's org authorization server has it: the address in the ID token and at userinfo, and `email_verified` only there.
#[tokio::test]
async fn an_address_of_which_the_id_token_says_no_more_is_verified_by_userinfo() {
    let fake = Fake::start().await;
    let (provider, attempt) = (fake.provider(), Attempt::begin().unwrap());
    let token = |changes| fake.key.signed(&header(), &with(fake.claims(&attempt), changes));
    let thin = token(json!({ "email_verified": null }));
    for answer in [
        json!({ "email": "bob@example.com" }),
        json!({ "email": "ALICE@example.com" }),
        json!({ "email": null }),
        json!({ "sub": "b-2" }),
        json!({ "email_verified": null }),
        json!({ "email_verified": false }),
        json!({ "email_verified": null, "xms_edov": true }),
    ] {
        fake.says(USER_INFO, info(answer.clone()));
        assert!(fake.account(&provider, &attempt, &thin).await.is_err(), "{answer}");
    }
    fake.says(USER_INFO, info(json!({})));
    let account = fake.account(&provider, &attempt, &thin).await.unwrap();
    assert_eq!(account.email.as_str(), "alice@example.com");
    let refused = fake.account(&provider, &attempt, &token(json!({ "email_verified": false }))).await.unwrap_err();
    assert!(refused.contains(NOT_VERIFIED), "{refused}");
}

#[tokio::test]
async fn without_a_userinfo_endpoint_an_id_token_without_an_address_signs_nobody_in() {
    let fake = Fake::start().await;
    fake.says(DISCOVERY, with(fake.discovery(), json!({ "userinfo_endpoint": null })));
    let (provider, attempt) = (fake.provider(), Attempt::begin().unwrap());
    let token = fake.key.signed(&header(), &with(fake.claims(&attempt), silent()));
    let refused = fake.account(&provider, &attempt, &token).await.unwrap_err();
    assert!(refused.contains(NOT_VERIFIED), "{refused}");
}
