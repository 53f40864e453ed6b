//! Helm, for the tests of the chart and for the files that are made from it.

use std::{path::PathBuf, process::Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::{installation::NAMESPACE, setup, workspace};

/// The program, with a home of its own instead of the user's.
#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Helm {
    /// Version 3 or 4.
    pub async fn new(major: u8) -> Result<Self> {
        Ok(Self { program: setup::helm(major).await?, home: tempfile::tempdir()? })
    }

    /// A command without arguments, for no cluster.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.home.path().join(variable));
        }
        command.env("KUBECONFIG", "/dev/null").kill_on_drop(true);
        command
    }

    /// Renders the chart with these values, for an installation named vdiwarden in a namespace. Without what `helm test` adds.
    pub async fn render(&self, namespace: &str, values: &Value) -> Result<Output> {
        Ok(self.rendering(namespace, values)?.arg("--skip-tests").output().await?)
    }

    /// The same, if the values are what the chart allows.
    pub async fn template(&self, namespace: &str, values: &Value) -> Result<String> {
        output(self.rendering(namespace, values)?.arg("--skip-tests")).await
    }

    /// The same with what `helm test` adds.
    pub async fn template_with_tests(&self, namespace: &str, values: &Value) -> Result<String> {
        output(&mut self.rendering(namespace, values)?).await
    }

    fn rendering(&self, namespace: &str, values: &Value) -> Result<Command> {
        let mut command = self.command();
        command.args(["template", "vdiwarden"]).arg(chart()).args(["--namespace", namespace, "--kube-version=1.35"]);
        command.arg("--values").arg(self.values(values)?);
        Ok(command)
    }

    /// A file with these values. It lasts as long as this.
    pub fn values(&self, values: &Value) -> Result<PathBuf> {
        let (_, path) = tempfile::Builder::new().suffix(".json").tempfile_in(self.home.path())?.keep()?;
        std::fs::write(&path, serde_json::to_vec(values)?)?;
        Ok(path)
    }
}

/// What a command of [`Helm::command`] prints.
///
/// # Errors
/// When it fails, with its own words.
pub async fn output(command: &mut Command) -> Result<String> {
    let output = command.output().await?;
    ensure!(output.status.success(), "helm: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("helm's output is not text")
}

/// The chart's folder.
pub fn chart() -> PathBuf {
    workspace().join("deploy/chart/vdiwarden")
}

/// The folder with the CRDs.
pub fn crds() -> PathBuf {
    chart().join("files/crds")
}

/// deploy/install.yaml, from the chart.
///
/// # Errors
/// When Helm can't be built, or refuses the chart.
pub async fn install_manifest() -> Result<String> {
    let values = serde_json::json!({ "domain": "vdi.example.com" });
    let rendered = Helm::new(4).await?.template(NAMESPACE, &values).await?;
    Ok(format!("{}{rendered}", include_str!("install-head.yaml")))
}
