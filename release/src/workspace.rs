use std::path::{Path, PathBuf};

/// The root of the workspace that this crate was built in.
pub fn workspace() -> &'static Path {
    let release = Path::new(env!("CARGO_MANIFEST_DIR"));
    release.parent().unwrap_or(release)
}

/// Cargo's target folder, which also holds logs and screenshots: `CARGO_TARGET_DIR`, or `target` in the workspace.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), |path| workspace().join(path))
}
