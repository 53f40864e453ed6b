//! What tests of more than one room share, and `cargo xtask` uses: the policy built, run as a policy server runs it, and
//! served to a real API server; the whole product on a local cluster; a browser to look at it.

pub mod attack;
pub mod audit;
pub mod browser;
pub mod desktop;
pub mod fake_desktop;
pub mod faults;
pub mod gateway;
pub mod http;
pub mod loading;
pub mod names;
pub mod network;
pub mod nginx;
pub mod objects;
pub mod oidc;
pub mod policy;
pub mod process;
pub mod rbac;
pub mod replica;
pub mod selkies;
pub mod setup;
pub mod shared;
pub mod site;
pub mod stack;
pub mod visitor;
pub mod webhook;
pub mod websocket;

use std::path::{Path, PathBuf};

use anyhow::Context;

/// The folder that holds the workspace.
pub fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// Where cargo builds, and where logs and pictures go.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), |path| workspace().join(path))
}

/// Awaits a part of something long, and tells a waiting person. Its error says which part it was.
pub async fn step<T>(title: &'static str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    vdi_cluster::progress::step(title, work).await.context(title)
}
