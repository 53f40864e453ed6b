//! An OpenID provider on loopback that answers with whatever a test wants.

use std::{
    collections::BTreeMap,
    future, io, iter,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use http::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, LOCATION},
};
use jiff::Timestamp;
use openidconnect::{IssuerUrl, RedirectUrl};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::sync::Notify;

use crate::{
    oidc::{Account, Attempt, Client, EMAIL_VERIFIED, Provider},
    token::base64url,
};

pub const DISCOVERY: &str = "/.well-known/openid-configuration";
pub const KEYS: &str = "/keys";
pub const TOKEN: &str = "/token";
pub const USER_INFO: &str = "/userinfo";

pub const CLIENT: &str = "vdi-gateway";
pub const SECRET: &str = "the client's secret, of 32 bytes";
pub const CODE: &str = "the code";
pub const KID: &str = "the provider's key";

#[derive(Clone)]
pub enum Reply {
    Json(Value),
    /// Any text, with the content type of JSON.
    Text(StatusCode, String),
    Redirect(&'static str),
    /// JSON, followed by endless white space.
    Endless(Value),
    /// The connection breaks in the middle.
    CutOff,
    /// No answer ever.
    Silence,
    /// The answer starts, and never continues.
    Stalled,
}

/// A recorded request.
#[derive(Clone)]
pub struct Asked {
    pub path: String,
    pub authorization: String,
    pub body: String,
}

#[derive(Default)]
struct Site {
    replies: Mutex<BTreeMap<String, Reply>>,
    asked: Mutex<Vec<Asked>>,
    hangs: Notify,
}

pub struct Fake {
    pub issuer: String,
    pub key: SigningKey,
    site: Arc<Site>,
    secret: NamedTempFile,
}

impl Fake {
    /// A provider that answers as it should, except for the code, which it doesn't know.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let site = Arc::new(Site::default());
        let served = site.clone();
        let router = Router::new().fallback(move |request| answer(served.clone(), request));
        tokio::spawn(async { axum::serve(listener, router).await });
        let secret = NamedTempFile::new().unwrap();
        std::fs::write(&secret, SECRET).unwrap();
        let fake = Self { issuer, key: SigningKey::generate(), site, secret };
        fake.says(DISCOVERY, fake.discovery());
        fake.says(KEYS, json!({ "keys": [fake.key.public(KID)] }));
        fake
    }

    /// The gateway's side of it, with nothing cached.
    pub fn provider(&self) -> Provider {
        self.provider_whose_claim_is(EMAIL_VERIFIED)
    }

    /// The same, where another claim says that an address is verified.
    pub fn provider_whose_claim_is(&self, claim: &str) -> Provider {
        let client = Client {
            issuer: IssuerUrl::new(self.issuer.clone()).unwrap(),
            id: CLIENT.to_owned(),
            secret: Some(self.secret.path().to_owned()),
            redirect: RedirectUrl::new("https://vdi.example.com/.vdi/callback".to_owned()).unwrap(),
            email_verified_claim: claim.to_owned(),
        };
        Provider::new(client, None)
    }

    pub fn says(&self, path: &str, json: Value) {
        self.replies(path, Reply::Json(json));
    }

    pub fn replies(&self, path: &str, reply: Reply) {
        self.site.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.site.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Waits until somebody waits for an answer that never comes.
    pub async fn hangs(&self) {
        self.site.hangs.notified().await;
    }

    pub fn discovery(&self) -> Value {
        let issuer = &self.issuer;
        json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}{TOKEN}"), "userinfo_endpoint": format!("{issuer}{USER_INFO}"),
            "jwks_uri": format!("{issuer}{KEYS}"), "response_types_supported": ["code"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// The claims of a valid ID token for alice.
    pub fn claims(&self, attempt: &Attempt) -> Value {
        let now = Timestamp::now().as_second();
        json!({
            "iss": self.issuer, "aud": CLIENT, "sub": "a-1", "iat": now, "exp": now + 300, "nonce": attempt.nonce(),
            "email": "alice@example.com", "email_verified": true,
        })
    }

    /// The account when the code is answered with this ID token, or the error message.
    pub async fn account(&self, provider: &Provider, attempt: &Attempt, id_token: &str) -> Result<Account, String> {
        self.says(TOKEN, token_answer(id_token));
        provider.account(attempt, CODE).await.map_err(|error| error.to_string())
    }
}

pub fn token_answer(id_token: &str) -> Value {
    json!({ "access_token": "an access token", "token_type": "Bearer", "id_token": id_token })
}

/// The header of a valid ID token.
pub fn header() -> Value {
    json!({ "alg": "ES256", "kid": KID })
}

/// With some fields set to other values; `null` removes one.
pub fn with(mut object: Value, changes: Value) -> Value {
    for (field, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(field)),
            value => object[field] = value.clone(),
        }
    }
    object
}

/// The part of a token that is signed.
pub fn message(header: &Value, claims: &Value) -> String {
    [header, claims].map(|part| base64url(part.to_string().as_bytes())).join(".")
}

/// A key on P-256, for ES256.
pub struct SigningKey(EcdsaKeyPair);

impl SigningKey {
    pub fn generate() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }

    /// The public key, as an uncompressed point.
    pub fn point(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// The same as a JSON Web Key.
    pub fn public(&self, kid: &str) -> Value {
        let (x, y) = self.point()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y), "kid": kid, "use": "sig" })
    }

    pub fn signature(&self, message: &str) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec()
    }

    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        format!("{message}.{}", base64url(&self.signature(&message)))
    }
}

async fn answer(site: Arc<Site>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let authorization = head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    let path = head.uri.path().to_owned();
    let reply = site.replies.lock().unwrap().get(&path).cloned();
    site.asked.lock().unwrap().push(Asked { path, authorization: authorization.unwrap_or_default(), body });
    let json = |status: StatusCode, body: Body| (status, [(CONTENT_TYPE, "application/json")], body).into_response();
    match reply {
        None => json(StatusCode::BAD_REQUEST, r#"{"error": "invalid_grant"}"#.into()),
        Some(Reply::Json(value)) => json(StatusCode::OK, value.to_string().into()),
        Some(Reply::Text(status, text)) => json(status, text.into()),
        Some(Reply::Redirect(to)) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, to)]).into_response(),
        Some(Reply::Endless(value)) => {
            let white = iter::repeat_with(|| " ".repeat(1 << 16));
            let all = iter::once(value.to_string()).chain(white).map(Ok::<_, io::Error>);
            json(StatusCode::OK, Body::from_stream(stream::iter(all)))
        }
        Some(Reply::CutOff) => {
            let parts = [Ok("{"), Err(io::Error::other("lost"))];
            json(StatusCode::OK, Body::from_stream(stream::iter(parts)))
        }
        Some(Reply::Silence) => {
            site.hangs.notify_one();
            future::pending().await
        }
        Some(Reply::Stalled) => {
            site.hangs.notify_one();
            json(StatusCode::OK, Body::from_stream(stream::iter([Ok::<_, io::Error>("{")]).chain(stream::pending())))
        }
    }
}
