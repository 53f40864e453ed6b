//! `cargo xtask bench`: measurements, not tests. docs/performance.md has figures, and the machine they come from.

mod cluster;
mod cpu;
mod figures;
mod gateway;
pub mod policy;
mod sessions;
mod targets;

use anyhow::Result;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Compare the admission policy with a module that does nothing
    Policy,
    /// Compare sessions with bare pods, on simulated nodes
    Sessions(sessions::Options),
    /// Compare the gateway with nginx and with a direct connection, on loopback
    Gateway(gateway::Options),
}

pub async fn run(command: &Command) -> Result<()> {
    match command {
        Command::Policy => policy::run(),
        Command::Sessions(options) => sessions::run(options).await,
        Command::Gateway(options) => gateway::run(options).await,
    }
}
