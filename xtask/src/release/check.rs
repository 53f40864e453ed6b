//! Whether a release can be reproduced.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use vdi_release::{
    copy_sources, digest,
    image::{Architecture, Profile, Program, Sources},
    policy,
    publish::{Published, Release, Signer, notes},
};
use vdi_tests::{process, registry::Registry, setup};

use super::publish::{build, publish};

/// Releases twice, to two registries, and compares digests and files.
pub async fn run(signer: Option<&Signer>) -> Result<()> {
    setup::registry().await?;
    let changelog = fs::read_to_string(vdi_release::workspace().join("CHANGELOG.md"))?;
    // Of a version that isn't released yet.
    let notes = notes(&changelog, "Unreleased")?;
    let elsewhere = tempfile::tempdir()?;
    let here = build(notes).await?;
    let copy = copy(&here, elsewhere.path()).await?;

    let (first, second) = (Registry::start(None).await?, Registry::start(None).await?);
    let (one, two) = (elsewhere.path().join("one"), elsewhere.path().join("two"));
    let published = publish(&here, &first.address, first.docker_config(), one.clone(), signer).await?;
    let again = publish(&copy, &second.address, second.docker_config(), two.clone(), signer).await?;
    for (Published { reference, tagged, .. }, again) in published.iter().zip(&again) {
        let (name, other) = (tagged.replacen(&first.address, "", 1), again.reference.replacen(&second.address, "", 1));
        let found = reference.replacen(&first.address, "", 1);
        ensure!(found == other, "{name} is not reproducible: {found} and, from a copy of the sources, {other}");
        println!("{found}");
    }
    let (files, others) = (files(&one, &first.address)?, self::files(&two, &second.address)?);
    for (name, digest) in &files {
        ensure!(others.get(name) == Some(digest), "{name} differs between two releases");
        println!("{digest}  {name}");
    }
    ensure!(files.len() == others.len(), "two releases have other files");
    println!("Both releases are the same");
    Ok(())
}

/// The release of the same sources, built from nothing in another folder. The desktop is the same: it depends on Debian's packages of
/// the day.
async fn copy(here: &Release, folder: &Path) -> Result<Release> {
    let (sources, target) = (folder.join("a folder with/a longer path"), folder.join("another target"));
    eprintln!("Building a copy in {}, from nothing ...", sources.display());
    let origin = here.origin.clone();
    let (mut images, policy, sources) = process::blocking(move || {
        copy_sources(&sources)?;
        let policy = fs::read(policy::build_in(&sources, &target)?)?;
        let copied = Sources { folder: sources.clone(), target, origin };
        Ok((copied.build(&Program::ALL, Profile::Release, &Architecture::ALL)?, policy, sources))
    })
    .await?;
    images.extend(here.images.iter().filter(|image| image.name == "desktop").cloned());
    Ok(Release { sources, origin: here.origin.clone(), images, policy, notes: here.notes.clone() })
}

/// The digests of a release's files; signatures are never the same, and references begin with the registry.
fn files(folder: &Path, registry: &str) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let content = fs::read(&path)?;
        match name.as_str() {
            "SHA256SUMS" | "SHA256SUMS.sigstore.json" => continue,
            "images.txt" => {
                let text = String::from_utf8(content)?.replace(registry, "REGISTRY");
                files.insert(name, digest(text.as_bytes()));
            }
            _ => drop(files.insert(name, digest(&content))),
        }
    }
    Ok(files)
}
