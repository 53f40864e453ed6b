//! An image as one file: an [OCI image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md) in a tar
//! archive, as containerd, skopeo and podman import it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use oci_client::manifest::{
    ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciImageIndex, OciImageManifest,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::layer::{self, tar};

/// The bytes of an archive that has `blobs`, and whose only image is described by `root`.
pub fn write(blobs: &BTreeMap<String, Vec<u8>>, root: &Value) -> Result<Vec<u8>> {
    let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
    let index = json!({"manifests": [root], "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE, "schemaVersion": 2}).to_string();
    let file = |path, content| layer::File { path, mode: 0o644, content };
    let folder = |path| layer::File { path, mode: 0o755, content: b"" };
    let blobs: Vec<_> = blobs.iter().map(|(digest, content)| (path(digest), content)).collect();
    let mut files = vec![
        file("oci-layout", layout.as_bytes()),
        file("index.json", index.as_bytes()),
        folder("blobs/"),
        folder("blobs/sha256/"),
    ];
    files.extend(blobs.iter().map(|(path, content)| file(path, content)));
    tar(&files)
}

/// Where in an archive the blob `digest` is.
fn path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// An archive on disk, whose blobs are read when they are asked for.
pub struct Archive {
    file: PathBuf,
    /// Offset and size of each file, by its path.
    files: BTreeMap<String, (u64, u64)>,
    /// What describes its only image.
    pub root: ImageIndexEntry,
}

/// One architecture's image.
pub struct Manifest {
    pub descriptor: ImageIndexEntry,
    /// As it has to reach a registry: its digest depends on each byte.
    pub bytes: Vec<u8>,
    pub parsed: OciImageManifest,
}

impl Archive {
    /// # Errors
    /// When it can't be read, or isn't an OCI layout with one image.
    pub fn open(file: &Path) -> Result<Self> {
        Self::read(file).with_context(|| format!("{} is not an image's OCI archive", file.display()))
    }

    fn read(file: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(File::open(file)?).entries_with_seek()? {
            let entry = entry?;
            let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            files.insert(path, (entry.raw_file_position(), entry.size()));
        }
        let index: OciImageIndex = serde_json::from_slice(&content(file, &files, "index.json")?)?;
        let count = index.manifests.len();
        let [root] = index.manifests.try_into().ok().with_context(|| format!("it has {count} images, not one"))?;
        Ok(Self { file: file.to_owned(), files, root })
    }

    /// The blob of a digest, checked against it.
    pub fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        let content = content(&self.file, &self.files, &path(digest))?;
        let found = crate::digest(&content);
        ensure!(found == digest, "{} is damaged: {digest} is {found}; build it again", self.file.display());
        Ok(content)
    }

    fn parsed<T: DeserializeOwned>(&self, digest: &str) -> Result<(Vec<u8>, T)> {
        let bytes = self.blob(digest)?;
        let parsed = serde_json::from_slice(&bytes).with_context(|| format!("can't parse {digest}"))?;
        Ok((bytes, parsed))
    }

    /// The images of all architectures; one where there is no index of several.
    pub fn manifests(&self) -> Result<Vec<Manifest>> {
        let descriptors = match self.root.media_type.as_str() {
            OCI_IMAGE_MEDIA_TYPE => vec![self.root.clone()],
            OCI_IMAGE_INDEX_MEDIA_TYPE => self.parsed::<OciImageIndex>(&self.root.digest)?.1.manifests,
            other => bail!("{} has an image of the unknown type {other}", self.file.display()),
        };
        let read = descriptors.into_iter().map(|descriptor| {
            let (bytes, parsed) = self.parsed(&descriptor.digest)?;
            Ok(Manifest { descriptor, bytes, parsed })
        });
        read.collect()
    }
}

fn content(file: &Path, files: &BTreeMap<String, (u64, u64)>, path: &str) -> Result<Vec<u8>> {
    let &(offset, size) = files.get(path).with_context(|| format!("{} has no {path}", file.display()))?;
    let mut reader = File::open(file)?;
    reader.seek(SeekFrom::Start(offset))?;
    let mut content = Vec::new();
    reader.take(size).read_to_end(&mut content)?;
    Ok(content)
}
