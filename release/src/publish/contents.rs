//! What a release consists of, and where it goes.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Result, ensure};

use super::cosign::{Cosign, Signer};
use crate::{
    image::{Image, Origin},
    policy,
    registry::Registry,
};

/// What is released.
#[derive(Debug)]
pub struct Release {
    /// The folder with the sources.
    pub sources: PathBuf,
    pub origin: Origin,
    /// Of the controller, the gateway and the desktop.
    pub images: Vec<Image>,
    /// The policy's annotated module.
    pub policy: Vec<u8>,
    /// What it changes, in Markdown.
    pub notes: String,
}

/// Where to, and with what.
#[derive(Debug)]
pub struct Destination {
    /// Such as `ghcr.io/vdiwarden`.
    pub registry: String,
    /// The folder with Docker's configuration, which has the credentials.
    pub docker_config: PathBuf,
    /// For the release's files. Those of an earlier one in it are deleted.
    pub folder: PathBuf,
    /// Who signs. Without, the bills of materials aren't attached to what they describe.
    pub signer: Option<Signer>,
    /// The programs.
    pub cosign: PathBuf,
    pub syft: PathBuf,
}

/// An artifact in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `REGISTRY/REPOSITORY:TAG`.
    pub tagged: String,
    /// `REGISTRY/REPOSITORY@DIGEST`, which always means this.
    pub reference: String,
    /// One for each architecture.
    pub(super) bills: Vec<Bill>,
}

/// A software bill of materials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Such as `controller-arm64`.
    pub name: String,
    /// The reference of what it describes.
    pub reference: String,
    /// In SPDX.
    pub document: Vec<u8>,
}

impl Release {
    /// The digests of all that the chart refers to, by its names for them.
    pub(super) fn digests(&self) -> Result<BTreeMap<String, String>> {
        let policy = policy::artifact::pack(&self.policy)?.digest();
        let images = self.images.iter().map(|image| (image.name.clone(), image.digest.clone()));
        Ok(images.chain([("policy".to_owned(), policy)]).collect())
    }
}

impl Published {
    /// A version means the same forever: who has verified it once must not get something else later.
    pub(super) async fn ensure_new(&self, destination: &Destination) -> Result<()> {
        let there = Registry::new(&self.tagged, &destination.docker_config).await?.digest().await?;
        ensure!(
            there.as_ref().is_none_or(|digest| self.reference.ends_with(digest)),
            "{} is released already, with other contents ({}): raise the version in Cargo.toml",
            self.tagged,
            there.unwrap_or_default()
        );
        Ok(())
    }

    pub(super) fn sign(&self, cosign: &Cosign, provenance: &[u8]) -> Result<()> {
        cosign.sign(&self.reference)?;
        for bill in &self.bills {
            cosign.attest(&self.reference, "spdxjson", &bill.document)?;
            // Whoever has looked up the image for one architecture asks about that.
            if bill.reference != self.reference {
                cosign.attest(&bill.reference, "spdxjson", &bill.document)?;
            }
        }
        cosign.attest(&self.reference, "slsaprovenance1", provenance)
    }
}
