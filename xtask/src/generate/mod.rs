//! The files that are generated from code, in whole or in part. A test fails if one of them is out of date.

mod artifacthub;
mod policy_docs;
mod questions;
mod settings_schema;

use std::{fs, path::PathBuf};

use anyhow::Context;
use serde::Serialize;
use vdi_api::crds;
use vdi_tests::workspace;

/// Writes them all.
pub fn run() -> anyhow::Result<()> {
    for (path, content) in files()? {
        fs::write(&path, content).with_context(|| format!("can't write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn files() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let files = [
        ("deploy/crds/vdisessions.yaml", yaml("api/", &crds::vdisession())?),
        ("deploy/crds/vditemplates.yaml", yaml("api/", &crds::vditemplate())?),
        ("deploy/kubewarden/settings.schema.json", settings_schema::file()?),
        ("artifacthub-pkg.yml", yaml("metadata.yml and policy/", &artifacthub::package()?)?),
        ("questions-ui.yml", yaml("policy/", &questions::questions())?),
        ("docs/policy.md", policy_docs::file()?),
    ];
    Ok(files.map(|(path, content)| (workspace().join(path), content)).into())
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
