use std::{
    ffi::OsString,
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
    Ok(built.insert(build_in(workspace(), &target())?).clone())
}

/// Builds the sources in the folder `workspace`, with everything that cargo makes in the folder `target`, into
/// `policy/vdisession-policy.wasm` in the latter. The same sources and compiler give the same bytes, wherever they are.
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

/// Builds a policy that does nothing, to compare with, and says where it is.
///
/// # Errors
/// When cargo can't build it.
pub fn build_no_op() -> Result<PathBuf> {
    compile("no-op-policy", workspace(), &target())
}

fn compile(package: &str, workspace: &Path, target: &Path) -> Result<PathBuf> {
    const TRIPLE: &str = "wasm32-wasip1";
    let mut cargo = process::cargo_in(workspace);
    cargo.args(["build", "--package", package, "--profile=wasm", "--target", TRIPLE]);
    cargo.env("CARGO_TARGET_DIR", target).env("CARGO_ENCODED_RUSTFLAGS", same_paths_everywhere(workspace)?);
    process::run(&mut cargo).with_context(|| {
        format!("the policy can't be built. Is its target there? `rustup target add {TRIPLE}` adds it")
    })?;
    Ok(target.join(TRIPLE).join("wasm").join(package.replace('-', "_")).with_extension("wasm"))
}

/// Flags for `CARGO_ENCODED_RUSTFLAGS`. The module has the texts of its panics in it, and these make the paths in them
/// the same on every machine: those of the dependencies, and where rustup's rust-src is installed, of the standard
/// library. The workspace's own are relative to it as it is. This is what cargo's `trim-paths` is to do one day,
/// <https://rust-lang.github.io/rfcs/3127-trim-paths.html>.
fn same_paths_everywhere(workspace: &Path) -> Result<OsString> {
    let home = || Some(std::env::home_dir()?.join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let cargo_home = cargo_home.context("neither CARGO_HOME nor HOME is set")?;
    let version = process::rustc(workspace, &["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
    let sysroot = process::rustc(workspace, &["--print", "sysroot"])?;

    let mut flags = OsString::from("--remap-path-prefix=");
    flags.push(cargo_home);
    flags.push("=/cargo\x1f--remap-path-prefix=");
    flags.push(Path::new(sysroot.trim()).join("lib/rustlib/src/rust"));
    flags.push("=/rustc/");
    flags.push(commit);
    Ok(flags)
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
