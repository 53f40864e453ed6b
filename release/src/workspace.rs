use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The version of all that is released.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The root of the workspace that this crate was built in.
pub fn workspace() -> &'static Path {
    let release = Path::new(env!("CARGO_MANIFEST_DIR"));
    release.parent().unwrap_or(release)
}

/// Cargo's target folder, which also holds logs and screenshots: `CARGO_TARGET_DIR`, or `target` in the workspace.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), |path| workspace().join(path))
}

/// Copies the workspace's files to another folder, including new ones that aren't committed yet, and nothing that git ignores.
///
/// # Errors
/// When this is no git repository, or a file can't be copied.
pub fn copy_sources(to: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(workspace());
    let listed = git.output().context("can't run git, which lists the sources")?;
    ensure!(listed.status.success(), "git lists no files: {}", String::from_utf8_lossy(&listed.stderr).trim());
    for path in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let (from, to) = (workspace().join(path), to.join(path));
        // A file that is deleted, and not yet from the index.
        if !from.is_file() {
            continue;
        }
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(&from, &to).with_context(|| format!("can't copy {}", from.display()))?;
    }
    Ok(())
}
