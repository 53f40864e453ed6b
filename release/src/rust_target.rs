//! Rust's standard library for other targets than this machine.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{command, workspace::workspace};

/// Installs the standard library for `target`, such as wasm32-wasip1, with rustup. Does nothing if it is there.
///
/// # Errors
/// When rustup is not installed, or can't download it.
pub fn ensure(target: &str) -> Result<()> {
    let library = command::rustc(workspace(), &["--print", "target-libdir", "--target", target])?;
    if Path::new(library.trim()).exists() {
        return Ok(());
    }
    eprintln!("Adding the Rust target {target} ...");
    // Without rustup, the error says what is missing.
    command::run(Command::new("rustup").args(["target", "add", target]).current_dir(workspace()))
}
