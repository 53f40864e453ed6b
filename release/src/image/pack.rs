//! The image of a program: for each architecture one layer, its configuration and its manifest, and an index of them.
//! <https://github.com/opencontainers/image-spec/blob/main/image-index.md>

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use flate2::Compression;
use oci_client::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};
use serde_json::{Value, json};

use super::{
    Architecture, Origin, Program, archive, certificates, elf,
    layer::{File, Layer, layer},
};
use crate::digest::digest;

/// Where releases are published.
pub const REGISTRY: &str = "ghcr.io/vdiwarden";
/// The user `nonroot`, and the group.
const USER: u32 = 65532;

/// A packed image.
pub struct Packed {
    /// An OCI archive.
    pub archive: Vec<u8>,
    /// What the image is referred to by: the index's.
    pub digest: String,
}

/// Packs `program`, built for each architecture. The same programs and origin give the same bytes.
///
/// # Errors
/// When a file can't be read, or isn't a static program for its architecture.
pub fn pack(
    program: Program,
    binaries: &BTreeMap<Architecture, PathBuf>,
    origin: &Origin,
    compression: Compression,
) -> Result<Packed> {
    let labels = labels(program, origin);
    let mut blobs = BTreeMap::new();
    let mut manifests = Vec::new();
    for (architecture, binary) in binaries {
        let packed = packed_layer(program, *architecture, binary, compression);
        let layer = packed.with_context(|| format!("can't pack {}", binary.display()))?;
        let config = configuration(program, *architecture, &layer.diff_id, &labels, &origin.created);
        let config = add(&mut blobs, IMAGE_CONFIG_MEDIA_TYPE, config.to_string().into());
        let layer = add(&mut blobs, IMAGE_LAYER_GZIP_MEDIA_TYPE, layer.gzip);
        let manifest = json!({
            "annotations": labels,
            "config": config,
            "layers": [layer],
            "mediaType": OCI_IMAGE_MEDIA_TYPE,
            "schemaVersion": 2,
        });
        let mut descriptor = add(&mut blobs, OCI_IMAGE_MEDIA_TYPE, manifest.to_string().into());
        descriptor["platform"] = json!({"architecture": architecture.name(), "os": "linux"});
        manifests.push(descriptor);
    }
    let index = json!({
        "annotations": labels,
        "manifests": manifests,
        "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE,
        "schemaVersion": 2,
    });
    let mut root = add(&mut blobs, OCI_IMAGE_INDEX_MEDIA_TYPE, index.to_string().into());
    let digest = root["digest"].as_str().unwrap_or_default().to_owned();
    // containerd takes the full name from its own annotation; OCI's has the tag alone.
    let (name, version) = (program.name(), env!("CARGO_PKG_VERSION"));
    root["annotations"] = json!({
        "io.containerd.image.name": format!("{REGISTRY}/{name}:{version}"),
        "org.opencontainers.image.ref.name": version,
    });
    Ok(Packed { archive: archive::write(&blobs, &root)?, digest })
}

/// The program, what it needs to verify certificates, and the name of the user that it runs as.
fn packed_layer(
    program: Program,
    architecture: Architecture,
    binary: &Path,
    compression: Compression,
) -> Result<Layer> {
    let content = fs::read(binary)?;
    elf::ensure_static(&content, architecture)?;
    let passwd = format!("nonroot:x:{USER}:{USER}:nonroot:/:/sbin/nologin\n");
    let group = format!("nonroot:x:{USER}:\n");
    let certificates = certificates::bundle();
    let folder = |path| File { path, mode: 0o755, content: b"" };
    let file = |path, content| File { path, mode: 0o644, content };
    let files = [
        folder("etc/"),
        file("etc/group", group.as_bytes()),
        file("etc/passwd", passwd.as_bytes()),
        folder("etc/ssl/"),
        folder("etc/ssl/certs/"),
        file("etc/ssl/certs/ca-certificates.crt", certificates.as_bytes()),
        File { path: program.package(), mode: 0o755, content: &content },
    ];
    layer(&files, compression)
}

/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
fn configuration(
    program: Program,
    architecture: Architecture,
    diff_id: &str,
    labels: &BTreeMap<String, String>,
    created: &str,
) -> Value {
    json!({
        "architecture": architecture.name(),
        "config": {
            "Entrypoint": [format!("/{}", program.package())],
            "Labels": labels,
            "User": format!("{USER}:{USER}"),
            "WorkingDir": "/",
        },
        "created": created,
        "history": [{"created": created, "created_by": "cargo xtask image build"}],
        "os": "linux",
        "rootfs": {"diff_ids": [diff_id], "type": "layers"},
    })
}

/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
fn labels(program: Program, origin: &Origin) -> BTreeMap<String, String> {
    let title = format!("vdiwarden {}", program.name());
    let mut labels = vec![
        ("title", title.as_str()),
        ("description", program.description()),
        ("source", env!("CARGO_PKG_REPOSITORY")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("created", &origin.created),
    ];
    labels.extend(origin.revision.as_deref().map(|revision| ("revision", revision)));
    let named = |(name, value): (&str, &str)| (format!("org.opencontainers.image.{name}"), value.to_owned());
    labels.into_iter().map(named).collect()
}

/// Adds a blob, and returns what refers to it.
fn add(blobs: &mut BTreeMap<String, Vec<u8>>, media_type: &str, content: Vec<u8>) -> Value {
    let (digest, size) = (digest(&content), content.len());
    blobs.insert(digest.clone(), content);
    json!({"digest": digest, "mediaType": media_type, "size": size})
}
