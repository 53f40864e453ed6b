//! The policy in an OCI registry, as kwctl and the policy server know it: a manifest with one layer, the module.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use oci_client::manifest::{OciDescriptor, OciManifest, WASM_CONFIG_MEDIA_TYPE, WASM_LAYER_MEDIA_TYPE};
use serde_json::Value;

use super::metadata;
use crate::{artifact::Artifact, registry::Registry};

/// In bytes: larger than any policy, and small enough for memory.
const LARGEST_MODULE: usize = 256 << 20;

/// A policy from a registry, checked against its digests.
#[derive(Debug)]
pub struct Pulled {
    pub module: Vec<u8>,
    /// With the manifest's digest, so it always means this policy.
    pub reference: String,
}

/// The artifact of an annotated module.
///
/// # Errors
/// When the module has no metadata.
pub fn pack(module: &[u8]) -> Result<Artifact> {
    let annotations = annotations(&metadata::read(module)?);
    Artifact::new(&annotations, (WASM_CONFIG_MEDIA_TYPE, b"{}".into()), (WASM_LAYER_MEDIA_TYPE, module.into()))
}

/// Publishes an annotated module and returns its immutable reference. Credentials come from the folder
/// `docker_config`.
///
/// # Errors
/// As [`pack`], or when the registry refuses it; the error names the user and the credentials file.
pub async fn push(module: &[u8], reference: &str, docker_config: &Path) -> Result<String> {
    pack(module)?.push(reference, docker_config).await
}

/// Fetches a policy and checks it: the module against the manifest and, where the reference has a digest, the manifest
/// against that. Credentials come from the folder `docker_config`.
///
/// # Errors
/// When it isn't there, a digest doesn't match, or it isn't a Kubewarden policy.
pub async fn pull(reference: &str, docker_config: &Path) -> Result<Pulled> {
    let registry = Registry::new(reference, docker_config).await?;
    let pulled = registry.client.pull_manifest(&registry.reference, &registry.auth).await;
    let (manifest, digest) = pulled.map_err(|error| registry.explain(error))?;
    let layers = match manifest {
        OciManifest::Image(image) => image.layers,
        OciManifest::ImageIndex(_) => bail!("{reference} is an image index, not a policy"),
    };
    let types: Vec<_> = layers.iter().map(|layer| layer.media_type.as_str()).collect();
    ensure!(
        types == [WASM_LAYER_MEDIA_TYPE],
        "{reference} is not a policy: a policy has one layer of type {WASM_LAYER_MEDIA_TYPE}, this has {types:?}"
    );
    let module = blob(&registry, &layers[0])
        .await
        .with_context(|| format!("the module of {reference} doesn't match its manifest"))?;
    metadata::read(&module).with_context(|| {
        format!("{reference} is not a Kubewarden policy: annotate it with `kwctl annotate` before you push it")
    })?;
    Ok(Pulled { module, reference: registry.immutable(&digest) })
}

/// Fetches the blob of a descriptor and checks its size and digest.
async fn blob(registry: &Registry, descriptor: &OciDescriptor) -> Result<Vec<u8>> {
    let size = usize::try_from(descriptor.size)?;
    ensure!(size <= LARGEST_MODULE, "it has {size} bytes; the limit is {LARGEST_MODULE}");
    // By its digest alone: a descriptor may carry URLs that lead anywhere.
    let stream = registry.client.pull_blob_stream(&registry.reference, descriptor.digest.as_str()).await;
    let mut stream = stream.map_err(|error| registry.explain(error))?;
    let mut bytes = Vec::new();
    // The stream checks the digest at its end.
    while let Some(part) = stream.try_next().await? {
        bytes.extend(part);
        ensure!(bytes.len() <= size, "it has more than {size} bytes");
    }
    ensure!(bytes.len() == size, "it has {} bytes, not {size}", bytes.len());
    Ok(bytes)
}

/// The metadata's one-line annotations, and the source under OCI's key too.
/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
fn annotations(metadata: &Value) -> BTreeMap<String, String> {
    let all = metadata["annotations"].as_object().into_iter().flatten();
    let texts = all.filter_map(|(name, value)| Some((name.clone(), value.as_str()?)));
    let lines = texts.filter(|(_, text)| text.lines().count() <= 1);
    let mut annotations: BTreeMap<_, _> = lines.map(|(name, text)| (name, text.trim().to_owned())).collect();
    if let Some(source) = annotations.get("io.kubewarden.policy.source").cloned() {
        annotations.entry("org.opencontainers.image.source".to_owned()).or_insert(source);
    }
    annotations
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_line_annotations_are_kept_and_the_source_gets_ocis_key() {
        let source = "io.kubewarden.policy.source";
        let metadata = json!({"annotations": {source: " https://example.com\n", "usage": "two\nlines", "number": 1}});
        let image_source = "org.opencontainers.image.source";
        let expected = [source, image_source].map(|name| (name.to_owned(), "https://example.com".to_owned()));
        assert_eq!(annotations(&metadata), expected.into());
        assert_eq!(annotations(&json!({"annotations": {source: "a", image_source: "b"}}))[image_source], "b");
        assert!(annotations(&json!({})).is_empty());
    }
}
