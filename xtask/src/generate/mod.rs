//! The files that are generated from code, in whole or in part. A test fails if one of them is out of date.

mod artifacthub;
mod chart;
mod policy_docs;
mod questions;
mod settings_schema;

use std::{fs, path::PathBuf};

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use vdi_api::crds;
use vdi_tests::{helm, workspace};

/// Writes them all. The last is what Helm makes of the chart, which consists of others.
pub async fn run() -> anyhow::Result<()> {
    write(files()?)?;
    write(vec![(workspace().join("deploy/install.yaml"), helm::install_manifest().await?)])
}

fn write(files: Vec<(PathBuf, String)>) -> anyhow::Result<()> {
    for (path, content) in files {
        fs::write(&path, content).with_context(|| format!("can't write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn files() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let files = [
        ("deploy/chart/vdiwarden/files/crds/vdisessions.yaml", yaml("api/", &kept(crds::vdisession()))?),
        ("deploy/chart/vdiwarden/files/crds/vditemplates.yaml", yaml("api/", &kept(crds::vditemplate()))?),
        ("deploy/chart/vdiwarden/values.schema.json", chart::values_schema()?),
        ("deploy/kubewarden/settings.schema.json", settings_schema::file()?),
        ("artifacthub-pkg.yml", yaml("metadata.yml and policy/", &artifacthub::package()?)?),
        ("questions-ui.yml", yaml("policy/", &questions::questions())?),
        ("docs/policy.md", policy_docs::file()?),
    ];
    Ok(files.map(|(path, content)| (workspace().join(path), content)).into())
}

/// With the annotation that keeps it, and everything of its kind, when the chart is uninstalled.
fn kept(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let annotations = crd.metadata.annotations.get_or_insert_default();
    annotations.insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    crd
}

fn yaml(source: &str, content: &impl Serialize) -> anyhow::Result<String> {
    Ok(format!("# Generated from {source} by `cargo xtask generate`.\n{}", serde_saphyr::to_string(content)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_files_are_up_to_date() {
        for (path, content) in files().unwrap() {
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == content, "{} is out of date: run `cargo xtask generate`", path.display());
        }
    }
}
