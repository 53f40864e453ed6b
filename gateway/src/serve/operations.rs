//! What is served within the cluster: /healthz, /readyz, /metrics, and to the controller when desktops were last used.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use ring::digest::{SHA256, digest};
use serde::Serialize;
use tokio::{sync::watch, time::timeout};

use super::{Gateway, check, launch::bearer};
use crate::metrics::Metrics;

#[derive(Clone)]
pub struct Operations {
    pub gateway: Arc<Gateway>,
    /// Where the token is that the controller shows; without, nobody is told about activity.
    pub activity_token: Option<PathBuf>,
    pub asked: Arc<watch::Sender<Asked>>,
}

/// When the controller was told about activity last, and whether there is no more to tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    at: Option<Instant>,
    is_told_all: bool,
}

/// A controller asks every five seconds. One that hasn't asked for so long isn't waited for.
const ASKS: Duration = Duration::from_secs(15);
/// How long it is waited for: until it asks again, also when another gateway keeps it waiting. With 20 seconds for what is
/// open, this is within the half minute that Kubernetes gives a pod.
const LAST_WORD: Duration = Duration::from_secs(8);

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
    /// Another one at the same address is another gateway, which knows nothing of what this one has seen.
    replica: String,
    /// Nothing more comes through this gateway: when it is gone, nothing has been missed.
    is_over: bool,
    last_input: HashMap<String, f64>,
}

async fn activity(State(operations): State<Operations>, headers: HeaderMap) -> Response {
    if !operations.is_the_controller(&headers).await {
        return (StatusCode::UNAUTHORIZED, "this is for the controller\n").into_response();
    }
    let Gateway { activity, visitors, began, .. } = &*operations.gateway;
    let now = Instant::now();
    // First this, so that what it is about is all told.
    let is_over = activity.is_over() && visitors.are_gone();
    let last_input = activity.as_of(now).into_iter().map(|(uid, ago)| (uid, ago.as_secs_f64())).collect();
    operations.asked.send_replace(Asked { at: Some(now), is_told_all: is_over });
    Json(Activity { replica: began.to_string(), is_over, last_input }).into_response()
}

impl Operations {
    /// Ends what is still open to desktops, and waits until the controller knows of the last input, if there is one that asks.
    pub async fn last_word(&self) {
        self.gateway.activity.end();
        if self.asked.borrow().at.is_some_and(|at| at.elapsed() < ASKS) {
            // A controller that doesn't ask any more takes this gateway for one that was killed.
            let _ = timeout(LAST_WORD, self.asked.subscribe().wait_for(|asked| asked.is_told_all)).await;
        }
    }

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
