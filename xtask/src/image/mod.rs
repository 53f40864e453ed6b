//! `cargo xtask image ...`: builds the container images, and pushes them.

mod build;
mod check;
mod push;
mod which;

use anyhow::Result;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Build images as OCI archives in target/images/, and print their digests
    Build(build::Options),
    /// Build images, push them to an OCI registry, and print the references that always mean them
    Push(push::Options),
}

pub async fn run(command: &Command) -> Result<()> {
    match command {
        Command::Build(options) => build::run(options).await,
        Command::Push(options) => push::run(options).await,
    }
}
