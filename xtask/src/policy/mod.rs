//! `cargo xtask policy ...`: builds, publishes, inspects and runs the admission policy.

mod annotate;
mod build;
mod inspect;
mod output;
mod pull;
mod push;
mod request;
mod run;
mod text;
mod verdict;

use std::process::ExitCode;

use anyhow::Result;

use crate::bench;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Build the module, with its metadata, in target/policy/
    Build,
    /// Write metadata into a module, as `kwctl annotate` does
    Annotate(annotate::Options),
    /// Show what a module is, does and requires
    Inspect(inspect::Options),
    /// Publish the module to an OCI registry, as `kwctl push` does
    Push(push::Options),
    /// Fetch a policy from an OCI registry, and check its digests
    Pull(pull::Options),
    /// Run the policy on a manifest or an AdmissionRequest
    ///
    /// Exits with 0 when everything is accepted, 1 when something is rejected, and 2 on an error.
    Run(run::Options),
    /// Measure the policy, as `cargo xtask bench policy` does
    Bench,
}

pub async fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Build => build::run(),
        Command::Annotate(options) => annotate::run(options),
        Command::Inspect(options) => inspect::run(options).await,
        Command::Push(options) => push::run(options).await,
        Command::Pull(options) => pull::run(options).await,
        Command::Run(options) => return run::run(options),
        Command::Bench => bench::policy::run(),
    }?;
    Ok(ExitCode::SUCCESS)
}
