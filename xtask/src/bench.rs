//! `cargo xtask bench`: figures, not tests. docs/performance.md has some, with the machine that they are from.

mod aim;
mod cpu;
mod figures;
mod gateway;
mod load;
pub mod policy;
mod report;
mod sessions;
mod watch;

use std::{fmt::Display, path::Path};

use anyhow::{Context, Result};
use vdi_tests::target;

use crate::stop::unless_stopped;

#[derive(clap::Subcommand)]
pub enum Command {
    /// The admission policy beside a module that does nothing
    Policy,
    /// Sessions beside bare pods, on simulated nodes
    Sessions(sessions::Options),
    /// The gateway beside nginx and a direct connection, on loopback
    Gateway(gateway::Options),
}

/// Measures on a cluster in this folder, and prints the report, unless somebody interrupts it.
async fn on_a_cluster<R: Display>(measure: impl AsyncFnOnce(&Path) -> Result<R>) -> Result<()> {
    let directory = target().join("clusters/bench");
    let measure = async {
        measure(&directory).await.with_context(|| format!("logs are in {}", directory.join("logs").display()))
    };
    print!("{}", unless_stopped(measure).await?);
    Ok(())
}

pub async fn run(command: &Command) -> Result<()> {
    match command {
        Command::Policy => policy::run(),
        Command::Sessions(options) => sessions::run(options).await,
        Command::Gateway(options) => gateway::run(options).await,
    }
}
