//! `cargo xtask ...`: the one entry point for people and CI.

mod demo;
mod follow;
mod generate;
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
    /// Build the admission policy into target/policy/, ready for kwctl
    Policy,
    /// Build the desktop image, an OCI archive
    Image,
    /// Write the files that are made from the code: the CRDs in deploy/crds
    Generate,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options).await,
        Command::Test(options) => test::run(&options).await,
        Command::Policy => policy().await,
        Command::Image => image().await,
        Command::Generate => generate::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn policy() -> anyhow::Result<()> {
    vdi_tests::setup::wasm_target()?;
    let module = vdi_tests::policy::build()?;
    println!("{} ({} KiB)", module.display(), module.metadata()?.len() / 1024);
    Ok(())
}

async fn image() -> anyhow::Result<()> {
    println!("{}", vdi_tests::setup::desktop_image().await?.display());
    Ok(())
}
