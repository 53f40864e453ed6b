//! The workspace's crates, from their manifests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::graph::Graph;

/// The folders of the crates.
pub fn all(workspace: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace)? {
        let folder = entry?.path();
        if folder.join("Cargo.toml").is_file() && folder.join("src").is_dir() {
            names.extend(folder.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// The dependencies of the crates on each other, except for those of their tests.
pub fn dependencies(workspace: &Path) -> anyhow::Result<Graph> {
    let manifest = |folder: &Path| -> anyhow::Result<(PathBuf, toml::Table)> {
        let path = folder.join("Cargo.toml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok((path, text.parse()?))
    };
    let (_, root) = manifest(workspace)?;
    let shared = root["workspace"]["dependencies"].as_table().context("no shared dependencies")?;
    let mut graph = Graph::default();
    for name in all(workspace)? {
        let (path, manifest) = manifest(&workspace.join(&name))?;
        let place = path.strip_prefix(workspace)?.display().to_string();
        for dependency in manifest.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten() {
            let folder = shared.get(dependency.0).and_then(|shared| shared.get("path")).and_then(toml::Value::as_str);
            if let Some(folder) = folder {
                graph.add(&name, folder, &place);
            }
        }
    }
    Ok(graph)
}
