//! What an installation consists of: the objects in deploy/install.yaml.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::workspace;

/// Where controller and gateway are.
pub const NAMESPACE: &str = "vdiwarden-system";

/// The kinds of the floor.
const FLOOR: &[&str] = &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
/// The kinds that programs beside the cluster need in it, in place of pods.
const FOUNDATION: &[&str] = &[
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Lease",
    "Namespace",
    "Role",
    "RoleBinding",
    "ServiceAccount",
];

/// All of them.
pub fn objects() -> Result<Vec<Value>> {
    parse(&std::fs::read_to_string(workspace().join("deploy/install.yaml"))?)
}

/// Those that programs beside the cluster need, with or without the floor.
pub fn foundation(floor: bool) -> Result<Vec<Value>> {
    let is_wanted = |object: &Value| {
        let kind = object["kind"].as_str().unwrap_or_default();
        FOUNDATION.contains(&kind) || floor && FLOOR.contains(&kind)
    };
    let objects: Vec<Value> = objects()?.into_iter().filter(is_wanted).collect();
    ensure!(objects.len() > 10, "deploy/install.yaml lacks what an installation needs");
    Ok(objects)
}

/// The objects of a manifest.
pub fn parse(manifest: &str) -> Result<Vec<Value>> {
    let documents = format!("\n{manifest}");
    let objects = documents.split("\n---").map(serde_saphyr::from_str::<Value>);
    let objects = objects.collect::<Result<Vec<_>, _>>().context("the manifest is not YAML")?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// A manifest with these objects: JSON is YAML. Not a List, which kubectl validates itself, without knowing `null` in an enum.
pub fn manifest(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object}\n")).collect()
}
