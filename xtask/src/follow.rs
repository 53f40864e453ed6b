//! Prints the steps of a session until it is Running.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use vdi_api::{Phase, VDISession};

/// Longer than the start deadline of the sample template, so that the session itself says what is wrong.
const PATIENCE: Duration = Duration::from_secs(6 * 60);

/// Prints each step. Returns the session's URL once it is Running.
pub async fn follow(sessions: &Api<VDISession>, name: &str) -> Result<String> {
    tokio::time::timeout(PATIENCE, steps(sessions, name))
        .await
        .with_context(|| format!("{name} is not Running after {} s", PATIENCE.as_secs()))?
}

async fn steps(sessions: &Api<VDISession>, name: &str) -> Result<String> {
    let start = Instant::now();
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = std::pin::pin!(watcher(sessions.clone(), config).default_backoff().applied_objects());
    let mut last = None;
    while let Some(session) = changes.try_next().await? {
        let status = session.status.unwrap_or_default();
        let why = status.ready().map(|ready| ready.message.clone()).unwrap_or_default();
        let step = (status.phase, why.clone());
        if last.as_ref() != Some(&step) {
            println!("{:>6.1} s  {:<9} {why}", start.elapsed().as_secs_f64(), format!("{:?}", status.phase));
        }
        match (status.phase, status.url) {
            (Phase::Running, Some(url)) => return Ok(url),
            (Phase::Failed | Phase::Terminating, _) => bail!("{name} is {:?}: {why}", status.phase),
            _ => last = Some(step),
        }
    }
    bail!("the watch of {name} ended")
}
