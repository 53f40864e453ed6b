//! What makes a build the same bytes wherever its folders are.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::command;

/// A value for `CARGO_ENCODED_RUSTFLAGS`. Panic messages contain source paths; these flags make them the same on every
/// machine: those of the dependencies, of what build scripts generate and, where rustup's rust-src is installed, of the
/// standard library. Paths in the workspace are relative already. Cargo's `trim-paths` will replace this:
/// <https://rust-lang.github.io/rfcs/3127-trim-paths.html>.
///
/// # Errors
/// When cargo's home or rustc can't be found.
pub fn rust_flags(workspace: &Path, target: &Path) -> Result<OsString> {
    let home = || Some(std::env::home_dir()?.join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let cargo_home = cargo_home.context("neither CARGO_HOME nor HOME is set")?;
    let version = command::rustc(workspace, &["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
    let sysroot = command::rustc(workspace, &["--print", "sysroot"])?;
    let standard_library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");

    let mut flags = OsString::new();
    for (from, to) in [
        (cargo_home.as_path(), "/cargo".to_owned()),
        (target, "/target".to_owned()),
        (&standard_library, format!("/rustc/{commit}")),
    ] {
        if !flags.is_empty() {
            flags.push("\x1f");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push(format!("={to}"));
    }
    Ok(flags)
}
