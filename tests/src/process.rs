//! Processes, and work that blocks a thread.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs blocking work on another thread.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a thread panicked")?
}

/// Sends a signal, such as `STOP`, to a process that this one started.
pub fn signal(name: &str, process: u64) -> Result<()> {
    let status = Command::new("kill").args([format!("-{name}"), process.to_string()]).status()?;
    ensure!(status.success(), "kill: {status}");
    Ok(())
}
