//! Launch links: each signs in one browser at a desktop, once.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{StatusCode, request::Parts};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::{
    kubernetes::AuthError,
    pages::json,
    request::bearer_token,
    serve::{access_log::LogFields, body, gateway::Gateway, refusal::Refusal},
    sessions::Session,
    token::{Grant, KeyRing, Purpose, SignError},
};

/// The session to open.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Launch {
    namespace: String,
    name: String,
}

/// Longer than any name and namespace, in bytes.
const LONGEST: usize = 2048;

/// Makes a link for anyone with a Kubernetes token who may open the session. It signs in the first browser that follows
/// it.
pub async fn launch(gateway: &Gateway, head: &Parts, body: Body) -> Result<Response, Refusal> {
    let keys = gateway.ring()?;
    // Browsers never send this header by themselves, so another site's page can't abuse them.
    let token = bearer_token(&head.headers).ok_or_else(|| {
        Refusal::message(StatusCode::UNAUTHORIZED, "send a Kubernetes token: Authorization: Bearer ...")
    })?;
    let launch: Option<Launch> = serde_json::from_slice(&body::read(body, LONGEST).await?).ok();
    let launch = launch.ok_or_else(|| {
        let line = r#"name a session: {"namespace": "desktops", "name": "alice-desktop"}"#;
        Refusal::message(StatusCode::BAD_REQUEST, line)
    })?;
    let (subject, session) = authorize(gateway, token, &launch).await?;
    let url = link(gateway, &subject, &session, None, &keys)?;
    let session = Some(format!("{}/{}", session.namespace, session.name));
    let fields = LogFields { session, user: Some(subject), refused: None };
    Ok(fields.attach(json(StatusCode::OK, &json!({ "url": url, "expiresIn": Purpose::Launch.longest().as_secs() }))))
}

/// A link by which `subject`, who authenticated at `signed_in` or just now, enters the session. The code is in the
/// link's fragment, which browsers never send.
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

pub fn grant<'a>(issuer: &'a str, subject: &'a str, session: &'a Session, signed_in: Option<Timestamp>) -> Grant<'a> {
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

/// The subject of the link, if this token's owner may open the session.
async fn authorize(gateway: &Gateway, token: &str, launch: &Launch) -> Result<(String, Arc<Session>), Refusal> {
    let _permit = gateway.upstream.api_server.try_acquire().ok_or(Refusal::Busy)?;
    let person = gateway.authenticator.person(token).await?;
    let session = gateway.directory.by_name(&launch.namespace, &launch.name).ok_or(AuthError::Session)?;
    Ok((gateway.authenticator.authorize(&person, &session).await?, session))
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        let status = match error {
            AuthError::Token => StatusCode::UNAUTHORIZED,
            AuthError::Session => StatusCode::NOT_FOUND,
            AuthError::Api(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::message(status, error.to_string())
    }
}
