//! The gateway's own site: where links are made, and keys are published.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderMap, Method, Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::json;

use super::{
    Gateway,
    access::About,
    desktop::not_found,
    pages::{self, Message, json, page},
    refusal::Refusal,
};
use crate::{
    launch::{Denied, Person},
    session::Session,
    token::{Grant, Purpose},
};

pub async fn answer(gateway: &Gateway, request: Request<Body>) -> Result<Response, Refusal> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Ok(page(StatusCode::OK, &WELCOME)),
        (&Method::GET, "/.well-known/jwks.json") => {
            let keys = gateway.keys.ring().ok_or(Refusal::OutOfTouch)?;
            Ok(json(StatusCode::OK, &keys.public()))
        }
        (&Method::POST, "/launch") => launch(gateway, request).await,
        (&Method::GET, path) => path.strip_prefix("/.vdi/").and_then(pages::asset).ok_or_else(not_found),
        _ => Err(not_found()),
    }
}

const WELCOME: Message = Message {
    title: "GPU desktops",
    text: "Each desktop has an address of its own below this one, and opens for its owner alone. Ask for a link by showing \
           your Kubernetes token at /launch.",
    link: None,
};

/// Which session is to be opened.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Launch {
    namespace: String,
    name: String,
}

/// More than any name and namespace.
const LONGEST: usize = 2048;

/// Makes a link that signs in whoever follows it first, for who shows a Kubernetes token and may open the session.
async fn launch(gateway: &Gateway, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let keys = gateway.ring()?;
    // A browser never sends this header by itself, so another site's page can't make it ask.
    let token = bearer(&head.headers)
        .ok_or_else(|| Refusal::said(StatusCode::UNAUTHORIZED, "show a Kubernetes token: Authorization: Bearer ..."))?;
    let body = Limited::new(body, LONGEST).collect().await.map(|body| body.to_bytes());
    let launch: Option<Launch> = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
    let launch = launch.ok_or_else(|| {
        let line = r#"say which session: {"namespace": "desktops", "name": "alice-desktop"}"#;
        Refusal::said(StatusCode::BAD_REQUEST, line)
    })?;
    let (person, session) = admit(gateway, token, &launch).await?;
    let issuer = gateway.issuer();
    let grant = Grant {
        purpose: Purpose::Launch,
        issuer: &issuer,
        session_uid: &session.uid,
        subject: &person.name,
        email: &session.owner,
        host: &session.host,
        session_ends: None,
    };
    let code = gateway.sign(&grant, &keys)?;
    let url = format!("{}/.vdi/enter#{code}", gateway.public.origin_of(&session.host));
    let about = About {
        session: Some(format!("{}/{}", session.namespace, session.name)),
        user: Some(person.name.clone()),
        refused: None,
    };
    Ok(about.put(json(StatusCode::OK, &json!({ "url": url, "expiresIn": Purpose::Launch.longest().as_secs() }))))
}

async fn admit(gateway: &Gateway, token: &str, launch: &Launch) -> Result<(Person, Arc<Session>), Denied> {
    let person = gateway.doorman.person(token).await?;
    let session = gateway.directory.named(&launch.namespace, &launch.name).ok_or(Denied::Session)?;
    gateway.doorman.admit(&person, &session).await?;
    Ok((person, session))
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let status = match denied {
            Denied::Token(_) => StatusCode::UNAUTHORIZED,
            Denied::Session => StatusCode::NOT_FOUND,
            Denied::Api(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::said(status, denied.to_string())
    }
}

/// The token of a [bearer authorization].
///
/// [bearer authorization]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
