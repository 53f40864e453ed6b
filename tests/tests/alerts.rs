//! The chart's alerts, as Prometheus evaluates them.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vdi_tests::{helm, setup, workspace};

fn read(path: &std::path::Path) -> Result<Value> {
    Ok(serde_saphyr::from_str(&std::fs::read_to_string(path)?)?)
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_alerts() -> Result<()> {
    let mut check = Command::new(setup::promtool().await?);
    let output = check
        .args(["check", "rules", "--lint=all", "--lint-fatal"])
        .arg(helm::chart().join("files/alerts.yaml"))
        .output()?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[tokio::test]
async fn each_alert_fires_when_it_should_and_none_in_a_healthy_installation() -> Result<()> {
    let cases = workspace().join("tests/alerts/tests.yaml");
    let output = Command::new(setup::promtool().await?).args(["test", "rules"]).arg(&cases).output()?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );

    let names = |list: &Value, name: &str| -> BTreeSet<String> {
        let names = list.as_array().into_iter().flatten().filter_map(|it| it[name].as_str());
        names.map(str::to_owned).collect()
    };
    let alerts = read(&helm::chart().join("files/alerts.yaml"))?;
    let groups = alerts["groups"].as_array().context("no groups")?;
    let alerts: BTreeSet<String> = groups.iter().flat_map(|group| names(&group["rules"], "alert")).collect();
    let mut tested = names(&read(&cases)?["tests"], "name");
    ensure!(tested.remove("healthy") && tested == alerts, "tests/alerts/tests.yaml tests {tested:?}, not {alerts:?}");
    Ok(())
}
