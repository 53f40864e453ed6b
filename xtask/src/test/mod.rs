//! `cargo xtask test`: everything that has to pass before a change lands.

mod binaries;
mod event;
mod run;
mod suite;
mod summary;

use std::process::Command;

use vdi_cluster::progress;
use vdi_release::{command, workspace};
use vdi_tests::{process, rbac, setup, stack};

use self::binaries::Binary;
use crate::{fuzz, stop::unless_stopped};

#[derive(clap::Args)]
pub struct Options {
    /// Skip what needs a cluster
    #[arg(long)]
    fast: bool,

    /// Run only the tests whose name contains this, without any other checks
    name: Option<String>,
}

/// What `cargo test` selects: all tests.
const ALL: &[&str] = &["--workspace"];
/// The tests that need no cluster: the unit tests, and those of the policy.
const FAST: &[&str] = &["--workspace", "--lib", "--bins", "--test", "policy*"];
/// The examples in doc comments.
const EXAMPLES: &[&str] = &["test", "--workspace", "--doc"];

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let name = options.name.as_deref();
    setup::wasm_target()?;
    if name.is_none() {
        cargo("Checking the format", &["fmt", "--all", "--check"]).await?;
        cargo("Linting", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]).await?;
    }
    if options.fast {
        let binaries = process::blocking(|| binaries::build(FAST)).await?;
        return test(binaries, name).await;
    }
    if name.is_some() {
        return test(build().await?, name).await;
    }
    dependencies().await?;
    let binaries = build().await?;
    rbac::forget_requests()?;
    test(binaries, None).await?;
    cargo("Testing the examples in the documentation", EXAMPLES).await?;
    progress::step("Comparing the RBAC of the controller and the gateway with their requests", async { rbac::check() })
        .await?;
    progress::step("Fuzzing briefly", fuzz::run(&fuzz::Options::brief())).await
}

/// Builds the tests and everything that they run, so that no test's time includes it. Meanwhile, installs what they need.
async fn build() -> anyhow::Result<Vec<Binary>> {
    let build = process::blocking(|| {
        let binaries = binaries::build(ALL)?;
        stack::build()?;
        vdi_release::policy::build()?;
        Ok(binaries)
    });
    let work = async { tokio::try_join!(build, setup::everything()) };
    let (binaries, ()) = progress::step("Building the tests", work).await?;
    Ok(binaries)
}

async fn test(binaries: Vec<Binary>, name: Option<&str>) -> anyhow::Result<()> {
    progress::step("Testing", unless_stopped(suite::run(binaries, name))).await
}

/// Checks where dependencies come from, and their licences. Advisories need a network; CI checks them in a separate job.
async fn dependencies() -> anyhow::Result<()> {
    let program = setup::cargo_tool("cargo-deny", "0.20.2").await?;
    let mut check = Command::new(program);
    check.current_dir(workspace()).args(["--log-level", "error", "check", "bans", "licenses", "sources"]);
    progress::step("Checking dependencies", async { command::run(&mut check) }).await
}

async fn cargo(title: &str, arguments: &[&str]) -> anyhow::Result<()> {
    progress::step(title, async { command::cargo(arguments) }).await
}
