//! The programs read what the chart gives them.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use vdi_tests::{
    helm::Helm,
    installation::{NAMESPACE, parse},
    stack,
};

use super::configurations;

/// The first line of a program's log has its settings, unless it refuses them.
#[tokio::test]
async fn both_programs_accept_the_settings_of_every_configuration() -> Result<()> {
    vdi_tests::process::blocking(stack::build).await?;
    let helm = Helm::new(4).await?;
    let directory = tempfile::tempdir()?;
    for (configuration, values) in configurations::all() {
        let objects = parse(&helm.template(NAMESPACE, &values).await?)?;
        for program in ["vdi-controller", "vdi-gateway"] {
            let mut maps = objects.iter().filter(|it| it["kind"] == "ConfigMap");
            let map = maps.find(|it| it["metadata"]["name"] == program).context("no settings")?;
            let settings = map["data"]["config.yaml"].as_str().context("no file")?;
            let file = directory.path().join("config.yaml");
            std::fs::write(&file, settings)?;
            let mut run = Command::new(stack::program(program));
            run.arg("--config").arg(&file).env("KUBECONFIG", "/nowhere").stderr(Stdio::piped()).kill_on_drop(true);
            // No test may listen on ports that others use.
            run.arg("--listen=127.0.0.1:0");
            if program == "vdi-gateway" {
                run.arg("--operations-listen=127.0.0.1:0");
            }
            let mut process = run.spawn()?;
            let mut log = BufReader::new(process.stderr.take().context("no log")?).lines();
            let first = log.next_line().await?.unwrap_or_default();
            let starts = first.contains("starting") && first.contains("vdi.example.com");
            ensure!(starts, "{configuration}: {program} refuses its settings: {first}");
            process.kill().await?;
        }
    }
    Ok(())
}
