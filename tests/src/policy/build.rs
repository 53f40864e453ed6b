use std::{
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
};

use anyhow::{Context, Result};

use super::metadata;
use crate::{process, target, workspace};

/// Builds `target/policy/vdisession-policy.wasm`, ready for `kwctl run` and `kwctl push`, and says where it is.
///
/// Nothing is built twice: within a process the first call does it, and cargo sees to the rest.
///
/// # Errors
/// When cargo can't build the module, `metadata.yml` can't be read, or the module can't be written.
pub fn build() -> Result<PathBuf> {
    static BUILT: LazyLock<Mutex<Option<PathBuf>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(path) = &*built {
        return Ok(path.clone());
    }
    Ok(built.insert(build_anew()?).clone())
}

fn build_anew() -> Result<PathBuf> {
    const TARGET: &str = "wasm32-wasip1";
    process::cargo(["build", "--package=vdisession-policy", "--profile=wasm", "--target", TARGET]).with_context(
        || format!("the policy can't be built. Is its target there? `rustup target add {TARGET}` adds it"),
    )?;

    let module = target().join(TARGET).join("wasm/vdisession_policy.wasm");
    let module = fs::read(&module).with_context(|| format!("can't read {}", module.display()))?;
    let metadata = fs::read_to_string(workspace().join("metadata.yml")).context("can't read metadata.yml")?;
    let annotated = metadata::annotate(&module, &metadata::from_yaml(&metadata)?)?;
    let path = target().join("policy/vdisession-policy.wasm");
    write_atomically(&path, &annotated).with_context(|| format!("can't write {}", path.display()))?;
    Ok(path)
}

/// Other processes see the old module or the new one, never half of one.
fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|written| written == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    fs::write(&partial, bytes)?;
    fs::rename(&partial, path)
}
