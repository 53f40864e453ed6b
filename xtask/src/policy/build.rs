use std::path::PathBuf;

use anyhow::{Context, Result};
use vdi_release::{digest, policy};
use vdi_tests::setup;

use super::text;

pub fn run() -> Result<()> {
    let path = module()?;
    let module = std::fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
    println!("{}\n{}\n{}", path.display(), text::size(module.len()), digest(&module));
    Ok(())
}

/// The path of the module, which is rebuilt if the sources have changed.
pub fn module() -> Result<PathBuf> {
    setup::wasm_target()?;
    policy::build()
}
