//! /healthz, /readyz and /metrics.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::{metrics::Metrics, stores::Stores};

#[derive(Clone)]
pub struct Probes {
    pub stores: Stores,
    pub metrics: Arc<Metrics>,
}

pub fn router(probes: Probes) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probes)
}

/// Ready once everything that exists has been read.
async fn ready(State(probes): State<Probes>) -> (StatusCode, &'static str) {
    match probes.stores.are_complete() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "still reading what exists in the cluster\n"),
    }
}

async fn metrics(State(probes): State<Probes>) -> (StatusCode, String) {
    match probes.metrics.encode() {
        Ok(page) => (StatusCode::OK, page),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
