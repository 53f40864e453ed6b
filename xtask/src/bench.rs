//! `cargo xtask bench`: figures, not tests. docs/performance.md has some, with the machine that they are from.

mod aim;
mod cluster;
mod cpu;
mod figures;
mod gateway;
pub mod policy;
mod sessions;

use anyhow::Result;

#[derive(clap::Subcommand)]
pub enum Command {
    /// The admission policy beside a module that does nothing
    Policy,
    /// Sessions beside bare pods, on simulated nodes
    Sessions(sessions::Options),
    /// The gateway beside nginx and a direct connection, on loopback
    Gateway(gateway::Options),
}

pub async fn run(command: &Command) -> Result<()> {
    match command {
        Command::Policy => policy::run(),
        Command::Sessions(options) => sessions::run(options).await,
        Command::Gateway(options) => gateway::run(options).await,
    }
}
