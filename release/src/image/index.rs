//! Images of several architectures as one, with labels that say what it is.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE};
use serde_json::{Value, json};

use super::{Architecture, Image, Origin, archive};
use crate::{digest::digest, workspace::VERSION};

/// Where releases are published.
pub const REGISTRY: &str = "ghcr.io/vdiwarden";

/// A packed image.
pub struct Packed {
    /// An OCI archive.
    pub archive: Vec<u8>,
    /// What the image is referred to by: the index's.
    pub digest: String,
}

/// One image of those that something else has built for one architecture each, with labels of this release. The layers stay as they are.
///
/// # Errors
/// When one can't be read, or is an index itself.
pub fn index(name: &str, description: &str, images: &[(Architecture, Image)], origin: &Origin) -> Result<Packed> {
    let labels = labels(name, description, origin);
    let mut blobs = BTreeMap::new();
    let mut manifests = Vec::new();
    for (architecture, image) in images {
        let archive = archive::Archive::open(&image.archive)?;
        let [manifest] = &archive.manifests()?[..] else {
            bail!("{} has several images", image.archive.display());
        };
        for layer in &manifest.parsed.layers {
            blobs.insert(layer.digest.clone(), archive.blob(&layer.digest)?);
        }
        let mut config: Value = serde_json::from_slice(&archive.blob(&manifest.parsed.config.digest)?)?;
        config["config"]["Labels"] = json!(labels);
        let mut labelled: Value = serde_json::from_slice(&manifest.bytes)?;
        labelled["annotations"] = json!(labels);
        labelled["mediaType"] = OCI_IMAGE_MEDIA_TYPE.into();
        labelled["config"] = add(&mut blobs, &manifest.parsed.config.media_type, config.to_string().into());
        let mut descriptor = add(&mut blobs, OCI_IMAGE_MEDIA_TYPE, labelled.to_string().into());
        descriptor["platform"] = platform(*architecture);
        manifests.push(descriptor);
    }
    write(name, &labels, blobs, manifests)
}

/// An archive with an index of `manifests`, which are in `blobs`.
pub(super) fn write(
    name: &str,
    labels: &BTreeMap<String, String>,
    mut blobs: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Value>,
) -> Result<Packed> {
    let index = json!({
        "annotations": labels,
        "manifests": manifests,
        "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE,
        "schemaVersion": 2,
    });
    let mut root = add(&mut blobs, OCI_IMAGE_INDEX_MEDIA_TYPE, index.to_string().into());
    let digest = root["digest"].as_str().unwrap_or_default().to_owned();
    // containerd takes the full name from its own annotation; OCI's has the tag alone.
    root["annotations"] = json!({
        "io.containerd.image.name": format!("{REGISTRY}/{name}:{VERSION}"),
        "org.opencontainers.image.ref.name": VERSION,
    });
    Ok(Packed { archive: archive::write(&blobs, &root)?, digest })
}

pub(super) fn platform(architecture: Architecture) -> Value {
    json!({"architecture": architecture.name(), "os": "linux"})
}

/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
pub(super) fn labels(name: &str, description: &str, origin: &Origin) -> BTreeMap<String, String> {
    let title = format!("vdiwarden {name}");
    let mut labels = vec![
        ("title", title.as_str()),
        ("description", description),
        ("source", env!("CARGO_PKG_REPOSITORY")),
        ("version", VERSION),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("created", &origin.created),
    ];
    labels.extend(origin.revision.as_deref().map(|revision| ("revision", revision)));
    let named = |(name, value): (&str, &str)| (format!("org.opencontainers.image.{name}"), value.to_owned());
    labels.into_iter().map(named).collect()
}

/// Adds a blob, and returns what refers to it.
pub(super) fn add(blobs: &mut BTreeMap<String, Vec<u8>>, media_type: &str, content: Vec<u8>) -> Value {
    let (digest, size) = (digest(&content), content.len());
    blobs.insert(digest.clone(), content);
    json!({"digest": digest, "mediaType": media_type, "size": size})
}
