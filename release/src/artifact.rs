//! An OCI artifact with one layer, such as a policy or a chart.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, ensure};
use oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;
use serde_json::json;

use crate::{digest::digest, registry::Registry};

/// A media type and its content.
pub type Blob = (&'static str, Vec<u8>);

#[derive(Debug)]
pub struct Artifact {
    manifest: Vec<u8>,
    blobs: [Vec<u8>; 2],
}

impl Artifact {
    pub fn new(annotations: &BTreeMap<String, String>, config: Blob, layer: Blob) -> Result<Self> {
        let descriptor = |(media_type, content): &Blob| json!({"digest": digest(content), "mediaType": media_type, "size": content.len()});
        // Byte for byte what kwctl writes, so that the same module has the same digest whoever pushes it.
        let manifest = serde_json::to_vec(&json!({
            "annotations": annotations,
            "config": descriptor(&config),
            "layers": [descriptor(&layer)],
            "schemaVersion": 2,
        }))?;
        Ok(Self { manifest, blobs: [layer.1, config.1] })
    }

    /// What it is referred to by.
    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    pub fn layer(&self) -> &[u8] {
        &self.blobs[0]
    }

    /// Pushes it to `reference`, and returns its immutable reference. Credentials come from the folder `docker_config`.
    ///
    /// # Errors
    /// When the registry refuses it; the error names the user and the credentials file.
    pub async fn push(&self, reference: &str, docker_config: &Path) -> Result<String> {
        let registry = Registry::new(reference, docker_config).await?;
        ensure!(
            registry.reference.digest().is_none(),
            "push to a tag such as :v0.1.0; the digest follows from the content"
        );
        for blob in &self.blobs {
            let pushed = registry.client.push_blob(&registry.reference, blob.clone(), &digest(blob)).await;
            pushed.map_err(|error| registry.explain(error))?;
        }
        let (manifest, media_type) = (self.manifest.clone(), OCI_IMAGE_MEDIA_TYPE.parse()?);
        let pushed = registry.client.push_manifest_raw(&registry.reference, manifest, media_type).await;
        pushed.map_err(|error| registry.explain(error))?;
        Ok(registry.immutable(&self.digest()))
    }
}
