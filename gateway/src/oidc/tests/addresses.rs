//! Addresses that the provider names, and the address in the settings.

use serde_json::json;

use super::fake::{CODE, DISCOVERY, Fake, header, with};
use crate::oidc::{Attempt, address::is_trusted_url};

/// Reserved for documentation, so nobody answers there ([RFC 5737](https://www.rfc-editor.org/rfc/rfc5737)).
const ELSEWHERE: &str = "http://192.0.2.1/";

#[tokio::test]
async fn a_provider_that_names_an_address_over_plain_http_is_refused_before_anybody_is_sent_there() {
    for field in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
        let fake = Fake::start().await;
        let (provider, attempt) = (fake.provider(), Attempt::begin().unwrap());
        fake.says(DISCOVERY, with(fake.discovery(), json!({ field: ELSEWHERE })));
        let begun = provider.address(&attempt, "").await.unwrap_err().to_string();
        let ended = provider.account(&attempt, CODE).await.unwrap_err().to_string();
        for error in [begun, ended] {
            assert!(error.contains(&format!("{ELSEWHERE}, which is neither https nor on this machine")), "{error}");
        }
        fake.says(DISCOVERY, fake.discovery());
        provider.address(&attempt, "").await.expect("it has been mended");
    }
}

#[tokio::test]
async fn addresses_over_tls_may_be_anywhere() {
    let fake = Fake::start().await;
    let elsewhere = "https://login.example.com/";
    let changes = json!({
        "authorization_endpoint": elsewhere, "token_endpoint": elsewhere, "userinfo_endpoint": elsewhere
    });
    fake.says(DISCOVERY, with(fake.discovery(), changes));
    let address = fake.provider().address(&Attempt::begin().unwrap(), "").await.unwrap();
    assert!(address.starts_with(elsewhere), "{address}");
}

/// As Microsoft's addresses do that name `common`, or a domain, in place of the tenant's ID.
#[tokio::test]
async fn nobody_is_sent_to_a_provider_that_calls_itself_by_another_name() {
    let fake = Fake::start().await;
    let attempt = Attempt::begin().unwrap();
    for issuer in ["https://login.example.com/{tenantid}/v2.0", "https://login.example.com/v2.0", ""] {
        fake.says(DISCOVERY, with(fake.discovery(), json!({ "issuer": issuer })));
        let refused = fake.provider().address(&attempt, "").await.unwrap_err().to_string();
        assert!(refused.contains("issuer") || refused.contains("URL"), "{issuer}: {refused}");
        let claims = with(fake.claims(&attempt), json!({ "iss": issuer }));
        let token = fake.key.signed(&header(), &claims);
        assert!(fake.account(&fake.provider(), &attempt, &token).await.is_err(), "{issuer}");
    }
}

#[tokio::test]
async fn an_issuer_over_plain_http_is_never_called() {
    let mut fake = Fake::start().await;
    fake.issuer = ELSEWHERE.to_owned();
    let error = fake.provider().address(&Attempt::begin().unwrap(), "").await.unwrap_err().to_string();
    assert!(error.contains("neither https nor on this machine"), "{error}");
}

#[test]
fn only_exact_loopback_names_count_as_this_machine() {
    let trusted = |url: &str| is_trusted_url(&url.parse().unwrap());
    for url in ["https://login.example.com", "http://localhost:3000", "http://127.0.0.1/keys", "http://[::1]:3000"] {
        assert!(trusted(url), "{url}");
    }
    for url in [
        "http://login.example.com",
        "http://localhost.example.com",
        "http://localhost@example.com",
        "http://127.0.0.1:80@example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://[::ffff:10.0.0.1]",
        "ftp://localhost",
        "data:,keys",
        "javascript:alert(1)",
    ] {
        assert!(!trusted(url), "{url}");
    }
}
