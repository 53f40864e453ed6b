//! Running cargo, and what blocks.

use std::{ffi::OsStr, process::Command};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// Runs work that blocks a thread.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a thread panicked")?
}

/// Runs cargo in the workspace, with the same cargo that runs us.
pub fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(workspace());
    // Set by `cargo run`, `cargo test` and cargo-llvm-cov for the host; they don't fit another target.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let status = command.status().context("cargo can't be run")?;
    ensure!(status.success(), "{command:?} failed: {status}; see above");
    Ok(())
}
