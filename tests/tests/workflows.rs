//! The workflows of GitHub, which nothing here runs.

use std::process::Command;

use anyhow::{Result, ensure};
use vdi_tests::{setup, workspace};

#[tokio::test]
async fn actionlint_finds_nothing_in_any_workflow() -> Result<()> {
    let mut lint = Command::new(setup::actionlint().await?);
    // Without the linters of scripts that may be installed here or not.
    let output = lint.args(["-shellcheck=", "-pyflakes=", "-verbose"]).current_dir(workspace()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
    ensure!(said.contains("test.yml") && said.contains("release.yml"), "it looked elsewhere: {said}");
    Ok(())
}
