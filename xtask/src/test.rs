//! `cargo xtask test`: what has to hold before anything lands.

mod binaries;

use std::process::Command;

use vdi_cluster::progress;
use vdi_release::{command, workspace};
use vdi_tests::{rbac, setup};

use crate::fuzz;

#[derive(clap::Args)]
pub struct Options {
    /// Leave out what needs a cluster
    #[arg(long)]
    fast: bool,
}

/// The tests without a cluster: those inside the crates, and those of the policy.
const FAST: &[&str] = &["test", "--workspace", "--lib", "--bins", "--test", "policy*"];
/// The examples in doc comments.
const EXAMPLES: &[&str] = &["test", "--workspace", "--doc"];

pub async fn run(options: &Options) -> anyhow::Result<()> {
    setup::wasm_target()?;
    cargo("Checking the format", &["fmt", "--all", "--check"]).await?;
    cargo("Linting", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]).await?;
    if options.fast {
        return cargo("Testing what needs no cluster", FAST).await;
    }
    dependencies().await?;
    setup::everything().await?;
    rbac::forget_requests()?;
    progress::step("Testing", binaries::run()).await?;
    cargo("Testing the examples of the documentation", EXAMPLES).await?;
    progress::step("Comparing the rights of controller and gateway with what they did", async { rbac::check() })
        .await?;
    progress::step("Fuzzing for a moment", fuzz::run(&fuzz::Options::for_a_moment())).await
}

/// Where dependencies come from, and under which licences. Advisories need a network, and are looked for elsewhere.
async fn dependencies() -> anyhow::Result<()> {
    let program = setup::cargo_tool("cargo-deny", "0.20.2").await?;
    let mut check = Command::new(program);
    check.current_dir(workspace()).args(["--log-level", "error", "check", "bans", "licenses", "sources"]);
    progress::step("Checking dependencies", async { command::run(&mut check) }).await
}

async fn cargo(title: &str, arguments: &[&str]) -> anyhow::Result<()> {
    progress::step(title, async { command::cargo(arguments) }).await
}
