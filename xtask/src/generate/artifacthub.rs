//! `artifacthub-pkg.yml`, as `kwctl scaffold artifacthub` makes it from metadata.yml.
//! <https://artifacthub.io/docs/topics/repositories/kubewarden-policies/>

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vdi_tests::workspace;

use super::questions;

/// Hand-written parts are kept: the date of the version, and its changes.
pub fn package() -> Result<Value> {
    let metadata = read("metadata.yml")?;
    let written = read("artifacthub-pkg.yml")?;
    let annotation = |name: &str| {
        let value = metadata["annotations"][name].as_str();
        value.with_context(|| format!("metadata.yml lacks the annotation {name}"))
    };
    let kubewarden = |name: &str| annotation(&format!("io.kubewarden.policy.{name}"));
    let version = kubewarden("version")?;
    let image = format!("{}:v{version}", kubewarden("ociUrl")?);
    let source = kubewarden("source")?;
    let (author, email) =
        kubewarden("author")?.split_once(" <").context("io.kubewarden.policy.author lacks an address")?;
    let keywords: Vec<_> = annotation("io.artifacthub.keywords")?.split(", ").collect();
    Ok(json!({
        "version": version,
        "name": kubewarden("title")?,
        "displayName": annotation("io.artifacthub.displayName")?,
        "createdAt": written["createdAt"],
        "description": kubewarden("description")?,
        "license": kubewarden("license")?,
        "homeURL": kubewarden("url")?,
        "containersImages": [{"name": "policy", "image": image}],
        "keywords": keywords,
        "links": [
            {"name": "policy", "url": format!("{source}/releases/download/v{version}/policy.wasm")},
            {"name": "source", "url": source},
        ],
        "install": format!("{}\n```console\nkwctl pull {image}\nkubectl apply -f deploy/kubewarden/rbac.yaml -f deploy/kubewarden/monitor.yaml\n```\n", kubewarden("usage")?),
        "maintainers": [{"name": author, "email": email.trim_end_matches('>')}],
        "provider": {"name": "vdiwarden"},
        "recommendations": [{"url": "https://artifacthub.io/packages/helm/kubewarden/kubewarden-controller"}],
        "signatures": ["cosign"],
        "changes": written["changes"],
        "annotations": {
            "kubewarden/mutation": metadata["mutating"].to_string(),
            "kubewarden/resources": annotation("io.artifacthub.resources")?,
            "kubewarden/contextAwareResources": serde_saphyr::to_string(&metadata["contextAwareResources"])?,
            "kubewarden/rules": serde_saphyr::to_string(&metadata["rules"])?,
            "kubewarden/questions-ui": serde_saphyr::to_string(&questions::questions())?,
        },
    }))
}

fn read(path: &str) -> Result<Value> {
    let text = fs::read_to_string(workspace().join(path)).with_context(|| format!("can't read {path}"))?;
    serde_saphyr::from_str(&text).with_context(|| format!("can't read {path}"))
}
