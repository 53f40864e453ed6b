//! Shared by tests of more than one crate and by `cargo xtask`: the policy, run as a policy server runs it and served to a real
//! API server; the whole product on a local cluster; a browser.

pub mod attack;
pub mod audit;
pub mod browser;
pub mod desktop;
pub mod desktop_image;
pub mod entrance;
pub mod fake_desktop;
pub mod faults;
pub mod fixture;
pub mod gateway;
pub mod helm;
pub mod http;
pub mod images;
pub mod installation;
pub mod installed;
pub mod launch;
pub mod loading;
pub mod names;
pub mod network;
pub mod nginx;
pub mod objects;
pub mod oidc;
pub mod policy;
pub mod process;
pub mod rbac;
pub mod registry;
pub mod replica;
pub mod selkies;
pub mod setup;
pub mod shared;
pub mod stack;
pub mod stand_in;
pub mod test_namespace;
pub mod traefik;
pub mod visitor;
pub mod wait;
pub mod webhook;
pub mod websocket;

use anyhow::Context;
pub use vdi_release::{target, workspace};

/// Awaits a step of something long, and prints its progress. An error names the step.
pub async fn step<T>(title: &'static str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    vdi_cluster::progress::step(title, work).await.context(title)
}
