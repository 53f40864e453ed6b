//! Lints the GitHub workflows, which no test runs.

use std::process::Command;

use anyhow::{Result, ensure};
use vdi_tests::{setup, workspace};

#[tokio::test]
async fn actionlint_finds_nothing_in_any_workflow() -> Result<()> {
    let mut lint = Command::new(setup::actionlint().await?);
    // Without the linters for scripts, which may not be installed.
    let output = lint.args(["-shellcheck=", "-pyflakes=", "-verbose"]).current_dir(workspace()).output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}{log}", String::from_utf8_lossy(&output.stdout));
    ensure!(log.contains("test.yml") && log.contains("release.yml"), "it checked other files: {log}");
    Ok(())
}
