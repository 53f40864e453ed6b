//! A layer: files as a compressed tar archive, whose bytes depend on nothing but the files' paths, modes and contents.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::digest::digest;

/// A file or, where its path ends in a slash, a folder. All belong to root.
pub struct File<'a> {
    pub path: &'a str,
    pub mode: u32,
    pub content: &'a [u8],
}

pub struct Layer {
    pub gzip: Vec<u8>,
    /// The digest of the archive before compression.
    pub diff_id: String,
}

/// Packs `files` in the order that they have.
pub fn layer(files: &[File], compression: Compression) -> Result<Layer> {
    let tar = tar(files)?;
    // No time, no name, and the number for an unknown operating system.
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), compression);
    encoder.write_all(&tar)?;
    Ok(Layer { gzip: encoder.finish()?, diff_id: digest(&tar) })
}

/// The archive, uncompressed.
pub fn tar(files: &[File]) -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for File { path, mode, content } in files {
        let mut header = Header::new_ustar();
        header.set_entry_type(if path.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, *content)?;
    }
    Ok(archive.into_inner()?)
}
