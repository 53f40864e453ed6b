//! Running cargo, and what blocks.

use std::{ffi::OsStr, iter, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// Runs work that blocks a thread.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a thread panicked")?
}

/// Runs cargo in the workspace, with the same cargo that runs us.
pub fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<()> {
    run(cargo_in(workspace()).args(arguments))
}

/// A cargo that is about to run in `folder`, and builds as if nothing but it ran.
pub fn cargo_in(folder: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(folder);
    // Set by `cargo run`, `cargo test` and cargo-llvm-cov for the host; they don't fit another target.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // What cargo says of the package that it runs. Build scripts, ring's for one, take it as news, and all that depends
    // on them is built again.
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| is_about_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

fn is_about_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// Runs a command to its end. What it prints is to be seen.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} can't be run", command.get_program().display()))?;
    let words = iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    ensure!(status.success(), "`{}` failed: {status}; see above", words.join(" "));
    Ok(())
}

/// Sends a signal, such as `STOP`, to a process that this one has started.
pub fn signal(name: &str, process: u64) -> Result<()> {
    let status = Command::new("kill").args([format!("-{name}"), process.to_string()]).status()?;
    ensure!(status.success(), "kill: {status}");
    Ok(())
}

/// What the compiler that cargo uses in `folder` says.
pub fn rustc(folder: &Path, arguments: &[&str]) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(arguments).current_dir(folder).output().context("rustc can't be run")?;
    ensure!(output.status.success(), "rustc failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
