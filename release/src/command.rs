//! Running cargo, rustc and other programs to their end.

use std::{ffi::OsStr, iter, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::workspace::workspace;

/// Runs cargo in the workspace: the same cargo that runs this process.
///
/// # Errors
/// As [`run`].
pub fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<()> {
    run(cargo_in(workspace()).args(arguments))
}

/// A cargo command for the workspace in `folder`, without the environment that an outer cargo sets.
pub fn cargo_in(folder: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(folder);
    // `cargo run`, `cargo test` and cargo-llvm-cov set these for the host; they don't fit another target.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // Set for test binaries, to report times. In a build it would turn on crates' unstable features.
    command.env_remove("RUSTC_BOOTSTRAP");
    // Cargo describes the running package in these. Build scripts (ring's, for one) rerun when they change, and
    // everything that depends on them is rebuilt.
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| describes_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

fn describes_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// Runs a command to its end. Its output goes to the terminal.
///
/// # Errors
/// When it can't be started, or exits with anything but 0.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("can't run {}", command.get_program().display()))?;
    let words = iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    ensure!(status.success(), "`{}` failed: {status}; see above", words.join(" "));
    Ok(())
}

/// The output of the rustc that cargo uses in `folder`.
///
/// # Errors
/// When it can't be started, or fails.
pub fn rustc(folder: &Path, arguments: &[&str]) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(arguments).current_dir(folder).output().context("can't run rustc")?;
    ensure!(output.status.success(), "rustc failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
