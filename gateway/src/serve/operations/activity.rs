//! When each desktop was last used, for the controller, which ends idle sessions.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use axum::Json;
use http::HeaderMap;
use ring::digest::{SHA256, digest};
use serde::Serialize;
use tokio::{sync::watch, time::timeout};
use vdi_service::ActivityToken;

use crate::{request::bearer_token, serve::gateway::Gateway};

/// When the controller last got a report, and whether nothing can follow it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastReport {
    at: Option<Instant>,
    is_final: bool,
}

/// A controller asks every five seconds. If it hasn't for this long, nobody waits for it.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait for the controller's next request, even if another gateway delays it. Together with a drain of 20
/// seconds, this is within the 30 seconds that Kubernetes gives a pod to stop.
const FINAL_REPORT: Duration = Duration::from_secs(8);

/// Ages in seconds, so that clocks need not agree.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// A new value at the same address is another process, which knows nothing of what this one has seen.
    replica: String,
    /// No more input can come through this gateway: once it is gone, nothing has been missed.
    is_over: bool,
    last_input: HashMap<String, f64>,
}

pub fn report(gateway: &Gateway, last_report: &watch::Sender<LastReport>) -> Json<Report> {
    let Gateway { activity, concurrency, started, .. } = gateway;
    let now = Instant::now();
    // Checked first: if it holds, the report below is complete.
    let is_over = activity.is_closed() && concurrency.is_idle();
    let last_input = activity.since_last_input(now).into_iter().map(|(uid, ago)| (uid, ago.as_secs_f64())).collect();
    last_report.send_replace(LastReport { at: Some(now), is_final: is_over });
    Json(Report { replica: started.to_string(), is_over, last_input })
}

/// Cuts all tunnels to desktops. Then waits until the controller has read the last input, if there is a controller that
/// asks.
pub async fn final_report(gateway: &Gateway, last_report: &watch::Sender<LastReport>) {
    gateway.activity.close();
    let asks = last_report.borrow().at.is_some_and(|at| at.elapsed() < CONTROLLER_TIMEOUT);
    if asks {
        // A controller that no longer asks treats this gateway like one that was killed.
        let _ = timeout(FINAL_REPORT, last_report.subscribe().wait_for(|report| report.is_final)).await;
    }
}

/// Whether a request has the controller's token.
pub async fn is_controller(token: Option<&ActivityToken>, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return false };
    let expected = match token.read().await {
        Ok(expected) => expected,
        Err(error) => {
            tracing::warn!(error, "cannot read the controller's token");
            return false;
        }
    };
    let shown = bearer_token(headers).unwrap_or_default();
    // Digests are compared, so that the time it takes reveals nothing about the token.
    let digest = |token: &str| digest(&SHA256, token.as_bytes());
    !expected.is_empty() && digest(&expected).as_ref() == digest(shown).as_ref()
}
