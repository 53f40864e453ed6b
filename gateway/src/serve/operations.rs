//! What is served within the cluster: /healthz, /readyz, /metrics, and to the controller when desktops were last used.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::{Gateway, check, launch::bearer};
use crate::metrics::Metrics;

#[derive(Clone)]
pub struct Operations {
    pub gateway: Arc<Gateway>,
    /// Where the token is that the controller shows; without, nobody is told about activity.
    pub activity_token: Option<PathBuf>,
}

pub fn router(operations: Operations) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/activity", get(activity))
        .route("/check", any(check::check))
        // Envoy asks with the method and, behind this, the path that it was asked for.
        .route("/check/", any(check::check))
        .route("/check/{*path}", any(check::check))
        .with_state(operations)
}

/// Ready while it can tell who may come in, and until it is to stop.
async fn ready(State(Operations { gateway, .. }): State<Operations>) -> (StatusCode, &'static str) {
    let not_yet = |why| (StatusCode::SERVICE_UNAVAILABLE, why);
    if *gateway.stopping.borrow() {
        return not_yet("stopping\n");
    }
    if !gateway.directory.freshness.is_complete() {
        return not_yet("still reading what exists in the cluster\n");
    }
    if !gateway.is_in_touch() {
        return not_yet("lost touch with the cluster\n");
    }
    if gateway.keys.ring().is_none() {
        return not_yet("the signing keys are not known yet\n");
    }
    (StatusCode::OK, "ok\n")
}

async fn metrics(State(Operations { gateway, .. }): State<Operations>) -> Response {
    match gateway.metrics.encode() {
        Ok(page) => ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// In seconds back from now, so that nobody's clock matters.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Activity {
    watching_for: f64,
    last_input: HashMap<String, f64>,
}

async fn activity(State(operations): State<Operations>, headers: HeaderMap) -> Response {
    if !operations.is_the_controller(&headers).await {
        return (StatusCode::UNAUTHORIZED, "this is for the controller\n").into_response();
    }
    let (watching_for, last_input) = operations.gateway.activity.as_of(Instant::now());
    let last_input = last_input.into_iter().map(|(uid, ago)| (uid, ago.as_secs_f64())).collect();
    Json(Activity { watching_for: watching_for.as_secs_f64(), last_input }).into_response()
}

impl Operations {
    /// Read from its file each time: it may be replaced.
    async fn is_the_controller(&self, headers: &HeaderMap) -> bool {
        let Some(path) = &self.activity_token else { return false };
        let expected = match tokio::fs::read_to_string(path).await {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the controller's token can't be read");
                return false;
            }
        };
        let (expected, shown) = (expected.trim(), bearer(headers).unwrap_or_default());
        // Of digests, how alike they are says nothing about how alike the tokens are.
        let digest = |token: &str| digest(&SHA256, token.as_bytes());
        !expected.is_empty() && digest(expected).as_ref() == digest(shown).as_ref()
    }
}
