//! A cluster's directory.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, IoContext};

/// The layout of a cluster's directory.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub directory: PathBuf,
}

impl Files {
    /// Kept after the cluster is gone.
    pub fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// Deleted with the cluster.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The contents of volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data().join("volumes")
    }

    pub fn authority(&self) -> PathBuf {
        self.data().join("ca.crt")
    }

    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        // KUBECONFIG is a list of paths separated by colons.
        self.data().join(user.replace([':', '/'], "-")).with_added_extension("kubeconfig")
    }
}

/// Writes a file that only its owner can read. Concurrent readers see the old content or the new one, never a part of it.
pub(crate) fn write_private(path: &Path, contents: &str) -> Result<(), Error> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_added_extension(format!("{}-{number}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&unfinished).and_then(|mut file| file.write_all(contents.as_bytes()));
    written.and_then(|()| std::fs::rename(&unfinished, path)).context("writing", path)
}

/// Creates a directory, and missing parents, that only their owner can enter.
pub(crate) fn create_private_dir(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).context("creating", path)
}
