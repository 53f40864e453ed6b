use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{command, reproducible};

/// What it is compiled for.
pub const TARGET: &str = "wasm32-wasip1";

/// Compiles `package` of the workspace in `workspace` to a wasm module without metadata, and returns its path under
/// `target`. The same sources and compiler give the same bytes, wherever the folders are.
///
/// # Errors
/// When cargo can't build it; often the target isn't installed, and the error says how to add it.
pub fn compile(package: &str, workspace: &Path, target: &Path) -> Result<PathBuf> {
    let mut cargo = command::cargo_in(workspace);
    cargo.args(["build", "--package", package, "--profile=wasm", "--target", TARGET]);
    cargo.env("CARGO_TARGET_DIR", target);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", reproducible::rust_flags(workspace, target)?);
    command::run(&mut cargo).with_context(|| {
        format!("can't build {package}; if the target is missing, run `rustup target add {TARGET}`")
    })?;
    Ok(target.join(TARGET).join("wasm").join(package.replace('-', "_")).with_extension("wasm"))
}
