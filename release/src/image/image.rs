use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Architecture, archive::Archive};

/// An image in an OCI archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The last part of its repository, such as `controller`.
    pub name: String,
    pub archive: PathBuf,
    /// Of its index or, where it is for one architecture only, of its manifest: `REGISTRY/NAME@DIGEST` always means this image.
    pub digest: String,
}

impl Image {
    /// An image that something else has built.
    ///
    /// # Errors
    /// When `archive` is not an OCI archive with one image.
    pub fn open(name: &str, archive: PathBuf) -> Result<Self> {
        let digest = Archive::open(&archive)?.root.digest;
        Ok(Self { name: name.to_owned(), archive, digest })
    }

    /// What a node has to download, in bytes: by architecture, or by an empty string where the image names none.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn sizes(&self) -> Result<Vec<(String, u64)>> {
        let manifests = Archive::open(&self.archive)?.manifests()?;
        let sizes = manifests.iter().map(|manifest| {
            let platform = manifest.descriptor.platform.as_ref();
            let architecture = platform.map_or_else(String::new, |platform| platform.architecture.to_string());
            (architecture, manifest.parsed.layers.iter().map(|layer| layer.size.unsigned_abs()).sum())
        });
        Ok(sizes.collect())
    }

    /// The digest of each architecture's manifest.
    ///
    /// # Errors
    /// As [`Image::open`], or when it names no architecture or an unknown one.
    pub fn platforms(&self) -> Result<Vec<(Architecture, String)>> {
        let platforms = Archive::open(&self.archive)?.manifests()?.into_iter().map(|manifest| {
            let platform = manifest.descriptor.platform;
            let platform = platform.with_context(|| format!("{} doesn't say for which architecture", self.name))?;
            let name = platform.architecture.to_string();
            let architecture = Architecture::ALL.into_iter().find(|known| known.name() == name);
            Ok((architecture.with_context(|| format!("{} is for {name}", self.name))?, manifest.descriptor.digest))
        });
        platforms.collect()
    }
}
