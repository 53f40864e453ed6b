//! A release's files, next to what is in the registry.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::{
    contents::{Destination, Published, Release},
    cosign::Cosign,
    pin,
};
use crate::{artifact::Artifact, digest::digest, workspace::VERSION};

/// The checksums of all files but itself and its signature, as `sha256sum --check` reads them.
const CHECKSUMS: &str = "SHA256SUMS";

/// Writes the files: the chart, the policy's module, `install.yaml` with images by digest, `images.txt` with all
/// references, an SPDX document for each artifact, the notes and the checksums; with a signer the checksums' signature, with a key its
/// public half.
pub fn write(
    release: &Release,
    chart: &Artifact,
    published: &[Published],
    destination: &Destination,
    cosign: Option<&Cosign>,
) -> Result<()> {
    let folder = &destination.folder;
    let install = release.sources.join("deploy/install.yaml");
    let install = fs::read_to_string(&install).with_context(|| format!("can't read {}", install.display()))?;
    let references = published.iter().map(|artifact| format!("{}\n", artifact.reference)).collect::<String>();
    let mut files = BTreeMap::from([
        (format!("vdiwarden-{VERSION}.tgz"), chart.layer().to_vec()),
        ("policy.wasm".to_owned(), release.policy.clone()),
        ("install.yaml".to_owned(), pin::references(&install, &release.digests()?).into_bytes()),
        ("images.txt".to_owned(), references.into_bytes()),
        ("notes.md".to_owned(), release.notes.clone().into_bytes()),
    ]);
    for bill in published.iter().flat_map(|artifact| &artifact.bills) {
        files.insert(format!("{}.spdx.json", bill.name), bill.document.clone());
    }
    if let Some(key) = cosign.map(Cosign::public_key).transpose()?.flatten() {
        files.insert("cosign.pub".to_owned(), key);
    }
    let checksum =
        |(name, content): (&String, &Vec<u8>)| format!("{}  {name}\n", digest(content).trim_start_matches("sha256:"));
    let checksums = files.iter().map(checksum).collect::<String>();
    files.insert(CHECKSUMS.to_owned(), checksums.into_bytes());
    for (name, content) in &files {
        fs::write(folder.join(name), content).with_context(|| format!("can't write {name} in {}", folder.display()))?;
    }
    let bundle = |folder: &Path| folder.join(format!("{CHECKSUMS}.sigstore.json"));
    cosign.map_or(Ok(()), |cosign| cosign.sign_file(&folder.join(CHECKSUMS), &bundle(folder)))
}

/// Creates the folder, without what an earlier release has left in it. One that is no release's stays as it is.
pub fn empty(folder: &Path) -> Result<()> {
    let context = || format!("can't make {} an empty folder", folder.display());
    if folder.join(CHECKSUMS).exists() {
        fs::remove_dir_all(folder).with_context(context)?;
    }
    fs::create_dir_all(folder).with_context(context)?;
    let empty = fs::read_dir(folder).with_context(context)?.next().is_none();
    ensure!(empty, "{} has files that are no release's", folder.display());
    Ok(())
}
