//! The workspace's test binaries.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::Command;
use vdi_release::{command, workspace};

/// Those that take more than a minute, the longest first. They start first, so that none of them runs alone at the end.
const LONG: [&str; 15] = [
    "tests/activity",
    "tests/network",
    "tests/faults",
    "tests/installation",
    "tests/desktop",
    "tests/lifecycle",
    "tests/gateway_faults",
    "tests/ownership",
    "tests/waiting",
    "tests/compatibility",
    "tests/gpus",
    "tests/replicas",
    "tests/floor",
    "tests/gateway",
    "tests/failures",
];

/// A test binary, as `cargo test` would run it.
#[derive(Debug)]
pub struct Binary {
    /// Such as `tests/failures`, or `controller` for unit tests.
    pub name: String,
    pub program: PathBuf,
    /// The folder of its crate, its working directory.
    pub folder: PathBuf,
}

impl Binary {
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// Whether it has a test whose name contains this.
    pub async fn has(&self, name: &str) -> Result<bool> {
        let output = self.command().args(["--list", "--format", "terse", name]).output().await;
        let output = output.with_context(|| format!("can't run {}", self.program.display()))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().any(|line| line.ends_with(": test")))
    }
}

/// Builds the test binaries that `cargo test` builds for this selection, the longest first.
pub fn build(selection: &[&str]) -> Result<Vec<Binary>> {
    let mut cargo = command::cargo_in(workspace());
    cargo.arg("test").args(selection).args(["--no-run", "--message-format=json-render-diagnostics"]);
    let output = cargo.stderr(Stdio::inherit()).output().context("can't run cargo")?;
    if !output.status.success() {
        bail!("the tests can't be built ({}); see above", output.status);
    }
    let messages = String::from_utf8(output.stdout)?;
    let binaries = messages.lines().filter_map(|line| binary(&serde_json::from_str(line).ok()?));
    let mut binaries: Vec<Binary> = binaries.collect();
    let rank = |binary: &Binary| LONG.iter().position(|long| binary.name == *long).unwrap_or(LONG.len());
    binaries.sort_by_key(rank);
    Ok(binaries)
}

/// The test binary in a [message] that cargo prints for everything it builds.
///
/// [message]: https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages
fn binary(message: &Value) -> Option<Binary> {
    let program = message["executable"].as_str().filter(|_| message["profile"]["test"] == true)?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let package = folder.strip_prefix(workspace()).ok()?.display();
    let target = &message["target"];
    let name = match target["kind"][0].as_str()? {
        "test" => format!("{package}/{}", target["name"].as_str()?),
        _ => package.to_string(),
    };
    Some(Binary { name, program: program.into(), folder: folder.to_owned() })
}
