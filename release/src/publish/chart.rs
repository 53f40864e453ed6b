//! The chart, which names the images of its own release by their digests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use serde_json::Value;

use super::pin;
use crate::{
    artifact::Artifact,
    image::layer::{File, layer},
};

const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// Packages the chart in `folder`, with the digests in its values and in what it tells Artifact Hub. The same files give the same
/// bytes, which Helm doesn't promise of `helm package`: it writes the time into them.
///
/// # Errors
/// When a file can't be read, or the values have no place for a digest.
pub fn package(folder: &Path, digests: &BTreeMap<String, String>) -> Result<Artifact> {
    let metadata = fs::read_to_string(folder.join("Chart.yaml")).context("can't read Chart.yaml")?;
    let metadata = pin::references(&metadata, digests);
    let parsed: Value = serde_saphyr::from_str(&metadata).context("can't parse Chart.yaml")?;
    let text = |name: &str| parsed[name].as_str().with_context(|| format!("Chart.yaml has no {name}"));
    let name = text("name")?;
    let mut files = BTreeMap::new();
    for path in files_below(folder)? {
        let inside = path.strip_prefix(folder)?.display().to_string();
        let content = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        let content = match inside.as_str() {
            "Chart.yaml" => metadata.clone(),
            "values.yaml" => pin::values(&content, digests)?,
            _ => content,
        };
        files.insert(format!("{name}/{inside}"), content);
    }
    let files = files.iter().map(|(path, content)| File { path, mode: 0o644, content: content.as_bytes() });
    let archive = layer(&files.collect::<Vec<_>>(), Compression::best())?.gzip;
    // As Helm annotates it.
    let annotations = [("title", "name"), ("description", "description"), ("url", "home"), ("version", "version")];
    let annotations =
        annotations.map(|(ours, theirs)| Ok((format!("org.opencontainers.image.{ours}"), text(theirs)?.to_owned())));
    let annotations = annotations.into_iter().collect::<Result<_>>()?;
    Artifact::new(&annotations, (CONFIG, serde_json::to_vec(&parsed)?), (CONTENT, archive))
}

/// All files but those whose names begin with a dot.
fn files_below(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => files.append(&mut files_below(&entry.path())?),
            false => drop(files.insert(entry.path())),
        }
    }
    ensure!(!files.is_empty(), "{} has no files", folder.display());
    Ok(files)
}
