//! Links that sign somebody in at a desktop, once.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION, request::Parts};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{Gateway, access::About, body::small, pages::json, refusal::Refusal};
use crate::{
    launch::Denied,
    session::Session,
    token::{Grant, KeyRing, Purpose, SignError},
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
pub async fn launch(gateway: &Gateway, head: &Parts, body: Body) -> Result<Response, Refusal> {
    let keys = gateway.ring()?;
    // A browser never sends this header by itself, so another site's page can't make it ask.
    let token = bearer(&head.headers)
        .ok_or_else(|| Refusal::said(StatusCode::UNAUTHORIZED, "show a Kubernetes token: Authorization: Bearer ..."))?;
    let launch: Option<Launch> = serde_json::from_slice(&small(body, LONGEST).await?).ok();
    let launch = launch.ok_or_else(|| {
        let line = r#"say which session: {"namespace": "desktops", "name": "alice-desktop"}"#;
        Refusal::said(StatusCode::BAD_REQUEST, line)
    })?;
    let (subject, session) = admit(gateway, token, &launch).await?;
    let url = link(gateway, &subject, &session, None, &keys)?;
    let about =
        About { session: Some(format!("{}/{}", session.namespace, session.name)), user: Some(subject), refused: None };
    Ok(about.put(json(StatusCode::OK, &json!({ "url": url, "expiresIn": Purpose::Launch.longest().as_secs() }))))
}

/// A link by which `subject`, who showed at `signed_in` or just now who they are, enters the session. The code stands behind its
/// `#`, which browsers send to nobody.
pub fn link(
    gateway: &Gateway,
    subject: &str,
    session: &Session,
    signed_in: Option<Timestamp>,
    keys: &KeyRing,
) -> Result<String, SignError> {
    let code = gateway.sign(&grant(&gateway.issuer(), subject, session, signed_in), keys)?;
    Ok(format!("{}/.vdi/enter#{code}", gateway.public.origin_of(&session.host)))
}

pub(super) fn grant<'a>(
    issuer: &'a str,
    subject: &'a str,
    session: &'a Session,
    signed_in: Option<Timestamp>,
) -> Grant<'a> {
    Grant {
        purpose: Purpose::Launch,
        issuer,
        session_uid: &session.uid,
        subject,
        email: &session.owner,
        host: &session.host,
        session_ends: None,
        signed_in,
    }
}

async fn admit(gateway: &Gateway, token: &str, launch: &Launch) -> Result<(String, Arc<Session>), Refusal> {
    let _asks = gateway.questions.api_server.once_more().ok_or(Refusal::Busy)?;
    let person = gateway.doorman.person(token).await?;
    let session = gateway.directory.named(&launch.namespace, &launch.name).ok_or(Denied::Session)?;
    Ok((gateway.doorman.admit(&person, &session).await?, session))
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let status = match denied {
            Denied::Token => StatusCode::UNAUTHORIZED,
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
