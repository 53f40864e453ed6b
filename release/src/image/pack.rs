//! The image of a program: for each architecture one layer, its configuration and its manifest, and an index of them.
//! <https://github.com/opencontainers/image-spec/blob/main/image-index.md>

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use flate2::Compression;
use oci_client::manifest::{IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE};
use serde_json::{Value, json};

use super::{
    Architecture, Origin, Program, certificates, elf,
    index::{self, Packed},
    layer::{File, Layer, layer},
};

/// The user `nonroot`, and the group.
const USER: u32 = 65532;

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
    let labels = index::labels(program.name(), program.description(), origin);
    let mut blobs = BTreeMap::new();
    let mut manifests = Vec::new();
    for (architecture, binary) in binaries {
        let packed = packed_layer(program, *architecture, binary, compression);
        let layer = packed.with_context(|| format!("can't pack {}", binary.display()))?;
        let config = configuration(program, *architecture, &layer.diff_id, &labels, &origin.created);
        let config = index::add(&mut blobs, IMAGE_CONFIG_MEDIA_TYPE, config.to_string().into());
        let layer = index::add(&mut blobs, IMAGE_LAYER_GZIP_MEDIA_TYPE, layer.gzip);
        let manifest = json!({
            "annotations": labels,
            "config": config,
            "layers": [layer],
            "mediaType": OCI_IMAGE_MEDIA_TYPE,
            "schemaVersion": 2,
        });
        let mut descriptor = index::add(&mut blobs, OCI_IMAGE_MEDIA_TYPE, manifest.to_string().into());
        descriptor["platform"] = index::platform(*architecture);
        manifests.push(descriptor);
    }
    index::write(program.name(), &labels, blobs, manifests)
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
