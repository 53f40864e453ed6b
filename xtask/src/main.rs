//! `cargo xtask ...`: the one entry point for people and CI.

mod attack;
mod bench;
mod demo;
mod faults;
mod follow;
mod fuzz;
mod generate;
mod policy;
mod stop;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything that is done with vdiwarden's source. What a command needs is set up when it runs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster on this machine with a desktop in it, and keep it until Ctrl-C
    Demo(demo::Options),
    /// Check everything: format, lints, and all tests, on real parts
    Test(test::Options),
    /// Build, publish, inspect or ask the admission policy
    #[command(subcommand, disable_help_subcommand = true)]
    Policy(policy::Command),
    /// Feed what reads requests with what nobody would think of, and see that it holds
    Fuzz(fuzz::Options),
    /// Kill the controller, cut it off, lie to it, and see that sessions survive it
    Faults(faults::Options),
    /// Attack the product as a user may, and see that others are not disturbed
    Attack(attack::Options),
    /// Measure, and print figures
    #[command(subcommand, disable_help_subcommand = true)]
    Bench(bench::Command),
    /// Build the desktop image, an OCI archive
    Image,
    /// Write the files that are made from the code: CRDs, the policy's schema and documentation
    Generate,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            // As clap does for wrong arguments. 1 is for an answer that is no.
            ExitCode::from(2)
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(options) => demo::run(&options).await,
        Command::Test(options) => test::run(&options).await,
        Command::Policy(command) => return policy::run(&command).await,
        Command::Fuzz(options) => fuzz::run(&options).await,
        Command::Faults(options) => faults::run(&options).await,
        Command::Attack(options) => attack::run(&options).await,
        Command::Bench(command) => bench::run(&command).await,
        Command::Image => image().await,
        Command::Generate => generate::run(),
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn image() -> anyhow::Result<()> {
    println!("{}", vdi_tests::setup::desktop_image().await?.display());
    Ok(())
}
