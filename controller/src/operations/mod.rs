//! What operators and Kubernetes ask: /healthz, /readyz and /metrics.

mod gauges;
mod metrics;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};

use vdi_service::{Needs, metrics_page};

use crate::cache::{Stores, Workqueue};

pub use metrics::Metrics;

#[derive(Clone)]
pub struct Operations {
    pub stores: Stores,
    pub queue: Arc<Workqueue>,
    pub metrics: Arc<Metrics>,
    pub needs: Needs,
}

pub fn router(operations: Operations) -> Router {
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(operations)
}

/// Fails when something has ended that only a restart can bring back; not when the API server can't be reached.
async fn healthy(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    if !operations.stores.are_watched() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "a watch has ended\n");
    }
    if operations.queue.is_abandoned() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the reconcile loop has ended\n");
    }
    (StatusCode::OK, "ok\n")
}

/// Ready once it has everything that it needs, as leader and as standby. Until then, it says what it waits for, a line each.
async fn ready(State(operations): State<Operations>) -> (StatusCode, String) {
    match &operations.needs.waiting()[..] {
        [] => (StatusCode::OK, "ok\n".to_owned()),
        waiting => (StatusCode::SERVICE_UNAVAILABLE, waiting.join("\n") + "\n"),
    }
}

async fn metrics(State(operations): State<Operations>) -> impl IntoResponse {
    match operations.metrics.encode() {
        Ok(page) => Ok(([(header::CONTENT_TYPE, metrics_page::CONTENT_TYPE)], page)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
