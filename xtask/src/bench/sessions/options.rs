use std::path::PathBuf;

#[derive(Clone, clap::Args)]
pub struct Options {
    /// Number of sessions
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub count: u32,

    /// Sessions to create per second; without it, as fast as the API server takes them
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,

    /// Seconds to watch while all of them run and nothing happens
    #[arg(long, default_value_t = 60)]
    pub idle: u32,

    /// Run the admission policy too, as in a real cluster; without it, the figures show the controller alone
    #[arg(long)]
    pub webhook: bool,

    /// Apply the floor too
    #[arg(long)]
    pub floor_policies: bool,

    /// Measure this binary rather than that of this tree, to compare two
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}
