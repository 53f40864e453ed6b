use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::command;

const TRIPLE: &str = "wasm32-wasip1";

/// Compiles `package` of the workspace in `workspace` to a wasm module without metadata, and returns its path under
/// `target`. The same sources and compiler give the same bytes, wherever the folders are.
///
/// # Errors
/// When cargo can't build it; often the target isn't installed, and the error says how to add it.
pub fn compile(package: &str, workspace: &Path, target: &Path) -> Result<PathBuf> {
    let mut cargo = command::cargo_in(workspace);
    cargo.args(["build", "--package", package, "--profile=wasm", "--target", TRIPLE]);
    cargo.env("CARGO_TARGET_DIR", target).env("CARGO_ENCODED_RUSTFLAGS", reproducible_paths(workspace)?);
    command::run(&mut cargo).with_context(|| {
        format!("can't build {package}; if the target is missing, run `rustup target add {TRIPLE}`")
    })?;
    Ok(target.join(TRIPLE).join("wasm").join(package.replace('-', "_")).with_extension("wasm"))
}

/// A value for `CARGO_ENCODED_RUSTFLAGS`. Panic messages in the module contain source paths; these flags make them the
/// same on every machine: those of the dependencies and, where rustup's rust-src is installed, of the standard library.
/// Paths in the workspace are relative already. Cargo's `trim-paths` will replace this:
/// <https://rust-lang.github.io/rfcs/3127-trim-paths.html>.
fn reproducible_paths(workspace: &Path) -> Result<OsString> {
    let home = || Some(std::env::home_dir()?.join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let cargo_home = cargo_home.context("neither CARGO_HOME nor HOME is set")?;
    let version = command::rustc(workspace, &["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
    let sysroot = command::rustc(workspace, &["--print", "sysroot"])?;

    let mut flags = OsString::from("--remap-path-prefix=");
    flags.push(cargo_home);
    flags.push("=/cargo\x1f--remap-path-prefix=");
    flags.push(Path::new(sysroot.trim()).join("lib/rustlib/src/rust"));
    flags.push("=/rustc/");
    flags.push(commit);
    Ok(flags)
}
