//! `kubectl vdi`: desktops from the command line, with the rights of whoever runs it and no others.

mod cluster;
mod commands;
mod options;
mod output;
mod table;
mod words;

use std::process::ExitCode;

use clap::Parser;

use self::options::{Arguments, Command};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Arguments { cluster, command }: Arguments) -> anyhow::Result<()> {
    if let Command::Completion { shell } = command {
        commands::completion::run(shell);
        return Ok(());
    }
    let cluster = cluster::Cluster::connect(&cluster).await?;
    match command {
        Command::Start(options) => commands::start::run(&cluster, &options).await,
        Command::List(options) => commands::list::run(&cluster, &options).await,
        Command::Open(options) => commands::open::run(&cluster, &options).await,
        Command::Suspend(session) => commands::suspend::run(&cluster, &session.name, true).await,
        Command::Resume(session) => commands::suspend::run(&cluster, &session.name, false).await,
        Command::Extend(options) => commands::extend::run(&cluster, &options).await,
        Command::Stop(options) => commands::stop::run(&cluster, &options).await,
        Command::Templates(options) => commands::templates::run(&cluster, &options).await,
        Command::Why(session) => commands::why::run(&cluster, &session.name).await,
        Command::Top(options) => commands::top::run(&cluster, &options).await,
        Command::Completion { .. } => Ok(()),
    }
}
