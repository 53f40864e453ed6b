//! `cargo xtask ...`: the one entry point for people and CI.

mod attack;
mod bench;
mod demo;
mod faults;
mod follow;
mod fuzz;
mod generate;
mod image;
mod policy;
mod release;
mod stop;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks for vdiwarden's source. Each command sets up what it needs
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster with a desktop on this machine, and keep it until Ctrl-C
    Demo(demo::Options),
    /// Run all checks: format, lints, and all tests, on real components
    Test(test::Options),
    /// Build, publish, inspect or run the admission policy
    #[command(subcommand, disable_help_subcommand = true)]
    Policy(policy::Command),
    /// Fuzz the parsers of requests
    Fuzz(fuzz::Options),
    /// Inject faults around the controller, and check that sessions survive them
    Faults(faults::Options),
    /// Attack the product with a user's rights, and check that other users are not disturbed
    Attack(attack::Options),
    /// Measure performance, and print figures
    #[command(subcommand, disable_help_subcommand = true)]
    Bench(bench::Command),
    /// Build and publish the container images, without Docker
    #[command(subcommand, disable_help_subcommand = true)]
    Image(image::Command),
    /// Publish images, chart and policy, with bills of materials and signatures
    Release(release::Options),
    /// Write the files that are generated from code: CRDs, the policy's schema and documentation
    Generate,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            // Like clap for wrong arguments. 1 means that a policy rejects a request.
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
        Command::Image(command) => image::run(&command).await,
        Command::Release(options) => release::run(&options).await,
        Command::Generate => generate::run().await,
    }?;
    Ok(ExitCode::SUCCESS)
}
