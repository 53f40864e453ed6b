//! Policies in OCI registries, as kwctl and the policy server know them: a manifest whose one layer is the module.

mod connection;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use oci_client::manifest::{
    OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciManifest, WASM_CONFIG_MEDIA_TYPE, WASM_LAYER_MEDIA_TYPE,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::metadata;
use connection::Connection;

const CONFIG: &[u8] = b"{}";
/// In bytes: more than any policy has, and little enough to be kept in memory.
const LARGEST_MODULE: usize = 256 << 20;

/// A policy that was in a registry, and is what its digests say.
#[derive(Debug)]
pub struct Pulled {
    pub module: Vec<u8>,
    /// With the manifest's digest: it never means another policy.
    pub reference: String,
}

/// The folder where Docker keeps credentials: `DOCKER_CONFIG`, or `~/.docker`.
pub fn docker_config() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".docker");
    std::env::var_os("DOCKER_CONFIG").map_or_else(home, PathBuf::from)
}

/// `sha256:` and 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Publishes an annotated module and says which immutable reference it has now. Credentials are from the folder
/// `docker_config`.
///
/// # Errors
/// When the module has no metadata, or the registry doesn't take it; says who was refused, and where credentials go.
pub async fn push(module: &[u8], reference: &str, docker_config: &Path) -> Result<String> {
    let annotations = annotations(&metadata::read(module)?);
    // Byte for byte what kwctl writes, so that the same module has the same digest whoever pushes it.
    let manifest = serde_json::to_vec(&json!({
        "annotations": annotations,
        "config": descriptor(WASM_CONFIG_MEDIA_TYPE, CONFIG),
        "layers": [descriptor(WASM_LAYER_MEDIA_TYPE, module)],
        "schemaVersion": 2,
    }))?;
    let registry = Connection::new(reference, docker_config).await?;
    ensure!(registry.reference.digest().is_none(), "push to a tag such as :v0.1.0: the digest is what comes of it");
    for blob in [module, CONFIG] {
        let pushed = registry.client.push_blob(&registry.reference, blob.to_vec(), &digest(blob)).await;
        pushed.map_err(|error| registry.explain(error))?;
    }
    let digest = digest(&manifest);
    let media_type = OCI_IMAGE_MEDIA_TYPE.parse()?;
    let pushed = registry.client.push_manifest_raw(&registry.reference, manifest, media_type).await;
    pushed.map_err(|error| registry.explain(error))?;
    Ok(registry.immutable(&digest))
}

/// Fetches a policy and checks it: the module against the manifest, and the manifest against the reference where that
/// has a digest. Credentials are from the folder `docker_config`.
///
/// # Errors
/// When there is nothing, it isn't what a digest says, or it is no policy for Kubewarden.
pub async fn pull(reference: &str, docker_config: &Path) -> Result<Pulled> {
    let registry = Connection::new(reference, docker_config).await?;
    let pulled = registry.client.pull_manifest(&registry.reference, &registry.auth).await;
    let (manifest, digest) = pulled.map_err(|error| registry.explain(error))?;
    let layers = match manifest {
        OciManifest::Image(image) => image.layers,
        OciManifest::ImageIndex(_) => bail!("{reference} is an image index, not a policy"),
    };
    let types: Vec<_> = layers.iter().map(|layer| layer.media_type.as_str()).collect();
    ensure!(
        types == [WASM_LAYER_MEDIA_TYPE],
        "{reference} is no policy: a policy has one layer of type {WASM_LAYER_MEDIA_TYPE}, this has {types:?}"
    );
    let module = blob(&registry, &layers[0])
        .await
        .with_context(|| format!("the module of {reference} can't be had as its manifest says it is"))?;
    metadata::read(&module).with_context(|| {
        format!(
            "{reference} is no Kubewarden policy: whoever publishes it has to annotate it, as `kwctl annotate` does"
        )
    })?;
    Ok(Pulled { module, reference: registry.immutable(&digest) })
}

/// What the descriptor says that it is, or nothing.
async fn blob(registry: &Connection, descriptor: &OciDescriptor) -> Result<Vec<u8>> {
    let size = usize::try_from(descriptor.size)?;
    ensure!(size <= LARGEST_MODULE, "it has {size} bytes; {LARGEST_MODULE} would be the most");
    // The digest alone: a descriptor may have URLs, to anywhere.
    let stream = registry.client.pull_blob_stream(&registry.reference, descriptor.digest.as_str()).await;
    let mut stream = stream.map_err(|error| registry.explain(error))?;
    let mut bytes = Vec::new();
    // At its end the stream compares the digest.
    while let Some(part) = stream.try_next().await? {
        bytes.extend(part);
        ensure!(bytes.len() <= size, "it has more than {size} bytes");
    }
    ensure!(bytes.len() == size, "it has {} bytes, not {size}", bytes.len());
    Ok(bytes)
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"digest": digest(content), "mediaType": media_type, "size": content.len()})
}

/// Those of the metadata that fit on a line, and where the source is in OCI's words.
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
    use super::*;

    #[test]
    fn annotations_are_lines_and_say_where_the_source_is() {
        let source = "io.kubewarden.policy.source";
        let metadata = json!({"annotations": {source: " https://example.com\n", "usage": "two\nlines", "number": 1}});
        let image_source = "org.opencontainers.image.source";
        let expected = [source, image_source].map(|name| (name.to_owned(), "https://example.com".to_owned()));
        assert_eq!(annotations(&metadata), expected.into());
        assert_eq!(annotations(&json!({"annotations": {source: "a", image_source: "b"}}))[image_source], "b");
        assert!(annotations(&json!({})).is_empty());
    }
}
