//! The operations port, for the cluster: health, metrics, access checks for other proxies, and the last input at each
//! desktop for the controller.

mod activity;
mod check;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::{HeaderMap, Request, StatusCode, header::CONTENT_TYPE};
use tokio::sync::watch;
use vdi_service::{ActivityToken, Needs, metrics_page};

pub use self::activity::LastReport;
use super::gateway::Gateway;

#[derive(Clone)]
pub struct Operations {
    pub gateway: Arc<Gateway>,
    /// The controller's token; without it, nobody gets `/activity`.
    pub activity_token: Option<ActivityToken>,
    pub needs: Needs,
    pub last_report: Arc<watch::Sender<LastReport>>,
}

pub fn router(operations: Operations) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/activity", get(report))
        .route("/check", any(check))
        // Envoy appends the path of the request that it asks about.
        .route("/check/", any(check))
        .route("/check/{*path}", any(check))
        .with_state(operations)
}

impl Operations {
    /// Cuts all tunnels to desktops. Then waits until the controller has read the last input, if there is a controller
    /// that asks.
    pub async fn final_report(&self) {
        activity::final_report(&self.gateway, &self.last_report).await;
    }
}

/// Ready while the gateway can decide, and until it has to stop. Otherwise, it says why not, a line each.
async fn ready(State(Operations { gateway, needs, .. }): State<Operations>) -> (StatusCode, String) {
    let not_yet = |lines: Vec<String>| (StatusCode::SERVICE_UNAVAILABLE, lines.join("\n") + "\n");
    if *gateway.stopping.borrow() {
        return not_yet(vec!["stopping".to_owned()]);
    }
    let waiting = needs.waiting();
    if !waiting.is_empty() {
        return not_yet(waiting);
    }
    if !gateway.directory.freshness.is_complete() {
        return not_yet(vec!["still reading what exists in the cluster".to_owned()]);
    }
    if !gateway.is_in_touch() {
        return not_yet([vec!["lost touch with the cluster".to_owned()], needs.troubles()].concat());
    }
    (StatusCode::OK, "ok\n".to_owned())
}

async fn metrics(State(Operations { gateway, .. }): State<Operations>) -> Response {
    match gateway.metrics.encode() {
        Ok(page) => ([(CONTENT_TYPE, metrics_page::CONTENT_TYPE)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn report(State(operations): State<Operations>, headers: HeaderMap) -> Response {
    let Operations { gateway, activity_token, last_report, .. } = &operations;
    match activity::is_controller(activity_token.as_ref(), &headers).await {
        true => activity::report(gateway, last_report).into_response(),
        false => (StatusCode::UNAUTHORIZED, "only for the controller\n").into_response(),
    }
}

async fn check(State(Operations { gateway, .. }): State<Operations>, request: Request<Body>) -> Response {
    check::check(&gateway, request)
}
