use std::{
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
};

use anyhow::{Context, Result};

use super::{metadata, module::compile};
use crate::{
    files::write_atomically,
    workspace::{target, workspace},
};

/// Builds `target/policy/vdisession-policy.wasm`, ready for `kwctl run` and `kwctl push`, and returns its path.
///
/// The first call in a process builds it; later calls return the same path.
///
/// # Errors
/// When cargo can't build the module, `metadata.yml` can't be read, or the module can't be written.
pub fn build() -> Result<PathBuf> {
    static BUILT: LazyLock<Mutex<Option<PathBuf>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(path) = &*built {
        return Ok(path.clone());
    }
    Ok(built.insert(build_in(workspace(), &target())?).clone())
}

/// Builds the sources in `workspace` to `policy/vdisession-policy.wasm` in `target`, which also takes everything else
/// that cargo writes. The same sources and compiler give the same bytes, wherever the folders are.
///
/// # Errors
/// As [`build`].
pub fn build_in(workspace: &Path, target: &Path) -> Result<PathBuf> {
    let module = compile("vdisession-policy", workspace, target)?;
    let module = fs::read(&module).with_context(|| format!("can't read {}", module.display()))?;
    let metadata = fs::read_to_string(workspace.join("metadata.yml")).context("can't read metadata.yml")?;
    let annotated = metadata::annotate(&module, &metadata::from_yaml(&metadata)?)?;
    let path = target.join("policy/vdisession-policy.wasm");
    write_atomically(&path, &annotated).with_context(|| format!("can't write {}", path.display()))?;
    Ok(path)
}
