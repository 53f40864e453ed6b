//! The bodies of requests to the gateway itself, which are short.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::refusal::Refusal;

/// Only an attacker takes longer to send a few hundred bytes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a whole body, unless it has more than `limit` bytes or takes too long.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    match timeout(PATIENCE, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(Refusal::message(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long or incomplete")),
        Err(_) => Err(Refusal::message(StatusCode::REQUEST_TIMEOUT, "the request took too long")),
    }
}
