//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use vdi_api::{Email, Memory, SessionName, Timeout};

use crate::output::Output;

/// Desktops on Kubernetes: start, open and end them, and see why one doesn't start.
#[derive(Parser)]
#[command(
    name = "kubectl-vdi",
    bin_name = "kubectl vdi",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Arguments {
    #[command(flatten)]
    pub cluster: ClusterOptions,

    #[command(subcommand)]
    pub command: Command,
}

/// As kubectl's.
#[derive(Args)]
pub struct ClusterOptions {
    /// The file with clusters and credentials [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context in that file [default: its current one]
    #[arg(long, global = true)]
    pub context: Option<String>,

    /// The namespace [default: the context's]
    #[arg(long, short, global = true)]
    pub namespace: Option<String>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Start a desktop, or say how the one that is there is doing
    Start(Start),
    /// List desktops
    #[command(visible_alias = "ls")]
    List(List),
    /// Open a desktop in the browser
    Open(Open),
    /// Give the GPU back, and keep the desktop's files and its name
    Suspend(Session),
    /// Start a suspended desktop again
    Resume(Session),
    /// Let a desktop run longer
    Extend(Extend),
    /// End a desktop
    Stop(Stop),
    /// List what there is to start
    Templates(Templates),
    /// Say why a desktop is where it is, and what to do about it
    Why(Session),
    /// Show who has how many GPUs
    Top(Top),
    /// Print a script that completes commands in a shell
    Completion { shell: Shell },
}

#[derive(Args)]
pub struct Start {
    /// What to start; `kubectl vdi templates` lists what there is
    pub template: String,

    /// How many GPUs
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    pub gpu: Option<i32>,

    /// How much memory, such as 8Gi
    #[arg(long)]
    pub memory: Option<Memory>,

    /// How long it may run, such as 8h
    #[arg(long)]
    pub timeout: Option<Timeout>,

    /// What to call it [default: the template's name]
    #[arg(long)]
    pub name: Option<SessionName>,

    /// Whose it is, by e-mail address [default: yours]
    #[arg(long, value_name = "EMAIL")]
    pub user: Option<Email>,

    /// Wait until it can be opened
    #[arg(long, short)]
    pub wait: bool,

    /// Wait, and open it in the browser
    #[arg(long)]
    pub open: bool,

    #[command(flatten)]
    pub output: OutputOption,
}

#[derive(Args)]
pub struct OutputOption {
    /// Print objects instead
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Args)]
pub struct List {
    /// In all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,

    /// Follow changes until Ctrl-C
    #[arg(long, short)]
    pub watch: bool,

    #[command(flatten)]
    pub output: OutputOption,
}

#[derive(Args)]
pub struct Session {
    /// The desktop's name
    pub name: String,
}

#[derive(Args)]
pub struct Open {
    /// The desktop's name
    pub name: String,

    /// Print the address instead
    #[arg(long)]
    pub print: bool,
}

#[derive(Args)]
pub struct Extend {
    /// The desktop's name
    pub name: String,

    /// How much longer, such as 2h
    pub time: Timeout,
}

#[derive(Args)]
pub struct Stop {
    /// The desktop's name
    pub name: String,

    /// Don't ask
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Args)]
pub struct Templates {
    #[command(flatten)]
    pub output: OutputOption,
}

#[derive(Args)]
pub struct Top {
    /// In all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
}
