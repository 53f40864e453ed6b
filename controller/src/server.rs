//! /healthz, /readyz and /metrics.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};

use crate::{metrics::Metrics, queue::Queue, stores::Stores};

#[derive(Clone)]
pub struct Probes {
    pub stores: Stores,
    pub queue: Arc<Queue>,
    pub metrics: Arc<Metrics>,
}

pub fn router(probes: Probes) -> Router {
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probes)
}

/// Fails when something has ended that only a restart can bring back. Being cut off from the API server isn't that.
async fn healthy(State(probes): State<Probes>) -> (StatusCode, &'static str) {
    if !probes.stores.are_watched() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "a watch has ended\n");
    }
    if probes.queue.is_abandoned() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the reconcile loop has ended\n");
    }
    (StatusCode::OK, "ok\n")
}

/// Ready once everything that exists has been read, as leader and as standby.
async fn ready(State(probes): State<Probes>) -> (StatusCode, &'static str) {
    match probes.stores.are_complete() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "still reading what exists in the cluster\n"),
    }
}

async fn metrics(State(probes): State<Probes>) -> impl IntoResponse {
    match probes.metrics.encode() {
        Ok(page) => Ok(([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], page)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
