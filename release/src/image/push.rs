use std::path::Path;

use anyhow::{Result, ensure};
use oci_client::Reference;

use super::{Image, archive::Archive};
use crate::registry::Registry;

/// Pushes an image with all its architectures to `reference`, such as `ghcr.io/vdiwarden/controller:0.1.0`, and returns its immutable
/// reference. What the registry has already is not sent again. Credentials come from the folder `docker_config`.
///
/// # Errors
/// When the archive is damaged, or the registry refuses it; the error names the user and the credentials file.
pub async fn push(image: &Image, reference: &str, docker_config: &Path) -> Result<String> {
    let archive = Archive::open(&image.archive)?;
    let registry = Registry::new(reference, docker_config).await?;
    ensure!(registry.reference.digest().is_none(), "push to a tag such as :0.1.0; the digest follows from the content");
    // From the leaves up: a registry takes no manifest before what it names.
    for manifest in archive.manifests()? {
        let layers = manifest.parsed.layers.iter().map(|layer| &layer.digest);
        for digest in layers.chain([&manifest.parsed.config.digest]) {
            push_blob(&registry, &archive, digest).await?;
        }
        let by_digest = registry.reference.clone_with_digest(manifest.descriptor.digest);
        push_manifest(&registry, &by_digest, manifest.bytes, &manifest.descriptor.media_type).await?;
    }
    let root = &archive.root;
    push_manifest(&registry, &registry.reference, archive.blob(&root.digest)?, &root.media_type).await?;
    Ok(registry.immutable(&root.digest))
}

async fn push_blob(registry: &Registry, archive: &Archive, digest: &str) -> Result<()> {
    // If it can't be asked, pushing says why.
    if registry.client.blob_exists(&registry.reference, digest).await.unwrap_or(false) {
        return Ok(());
    }
    let pushed = registry.client.push_blob(&registry.reference, archive.blob(digest)?, digest).await;
    pushed.map(drop).map_err(|error| registry.explain(error))
}

async fn push_manifest(registry: &Registry, reference: &Reference, bytes: Vec<u8>, media_type: &str) -> Result<()> {
    let pushed = registry.client.push_manifest_raw(reference, bytes, media_type.parse()?).await;
    pushed.map(drop).map_err(|error| registry.explain(error))
}
