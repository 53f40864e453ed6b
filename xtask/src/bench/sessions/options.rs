#[derive(Clone, clap::Args)]
pub struct Options {
    /// How many sessions
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub count: u32,

    /// How many to create a second; without it, as fast as they are taken
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,

    /// How many seconds to look on while all of them run
    #[arg(long, default_value_t = 60)]
    pub idle: u32,

    /// Ask the admission policy too, as in a real cluster; without it, the figures are the controller's alone
    #[arg(long)]
    pub webhook: bool,

    /// Have the policies of deploy/floor in the API server too, likewise
    #[arg(long)]
    pub floor_policies: bool,
}
