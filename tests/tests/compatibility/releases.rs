//! What the last release and today's tree consist of.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vdi_tests::{helm, workspace};

/// The folder with what the last release consists of.
pub fn last_release() -> PathBuf {
    workspace().join("tests/last-release")
}

/// The last release's chart.
pub fn last_chart() -> PathBuf {
    last_release().join("vdiwarden")
}

/// The CRDs in it.
pub fn last_crds() -> Result<Vec<Value>> {
    read_crds(last_chart().join("files/crds"))
}

pub fn todays_crds() -> Result<Vec<Value>> {
    read_crds(helm::crds())
}

fn read_crds(folder: PathBuf) -> Result<Vec<Value>> {
    let mut paths: Vec<_> = folder.read_dir()?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    ensure!(!paths.is_empty(), "{} has no CRDs", folder.display());
    let read = |path: PathBuf| {
        serde_saphyr::from_str(&std::fs::read_to_string(&path)?).with_context(|| path.display().to_string())
    };
    paths.into_iter().map(read).collect()
}

/// A CRD's only schema.
pub fn schema_of(crd: &Value) -> Result<&Value> {
    let versions = crd["spec"]["versions"].as_array().context("no versions")?;
    let [version] = &versions[..] else { anyhow::bail!("this test knows CRDs of one version") };
    Ok(&version["schema"]["openAPIV3Schema"])
}
