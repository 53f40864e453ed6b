//! The bodies of requests to the gateway itself, which are short.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::refusal::Refusal;

/// Nobody takes longer to send a few hundred bytes, unless to keep this gateway busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole of a body, unless it is longer than this, or takes its time.
pub async fn small(body: Body, longest: usize) -> Result<Bytes, Refusal> {
    match timeout(PATIENCE, Limited::new(body, longest).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(Refusal::said(StatusCode::PAYLOAD_TOO_LARGE, "that is too long, or was cut off")),
        Err(_) => Err(Refusal::said(StatusCode::REQUEST_TIMEOUT, "that took too long")),
    }
}
