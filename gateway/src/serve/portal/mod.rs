//! Requests to the portal, the gateway's own site: signing in, launch links, and the desktops of the person who is
//! signed in.

pub(in crate::serve) mod launch;
mod login;
mod sessions;
mod sign_in;

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{Method, Request, StatusCode};

#[cfg(test)]
pub use self::login::LOGIN_AUDIENCE;
pub use self::sign_in::open_path;
use super::{gateway::Gateway, refusal::Refusal};
use crate::pages::{asset, json};

pub async fn answer(gateway: Arc<Gateway>, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/") => sessions::home(&gateway, &head),
        (&Method::GET, "/.vdi/sessions") => sessions::follow(gateway, &head),
        (&Method::GET, "/.vdi/sign-in") => sign_in::begin(&gateway, "").await,
        (&Method::GET, "/.vdi/callback") => sign_in::finish(&gateway, &head).await,
        (&Method::GET, "/.vdi/open") => sign_in::open(&gateway, &head).await,
        (&Method::POST, "/.vdi/sign-out") => sign_in::sign_out(&gateway, &head),
        (&Method::POST, "/launch") => launch::launch(&gateway, &head, body).await,
        (&Method::GET, "/.well-known/jwks.json") => {
            let keys = gateway.keys.ring().ok_or(Refusal::OutOfTouch)?;
            Ok(json(StatusCode::OK, &keys.public()))
        }
        (&Method::GET, path) => path.strip_prefix("/.vdi/").and_then(asset).ok_or_else(Refusal::not_found),
        _ => Err(Refusal::not_found()),
    }
}
