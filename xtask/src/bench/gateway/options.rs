#[derive(Clone, clap::Args)]
pub struct Options {
    /// How often each of the three has its turn; a round takes about five seconds
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,

    /// How many websockets are open and idle when memory is looked at
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub idle: u32,

    /// What nginx reads at once from a desktop, in KiB: its proxy_buffer_size, which is 4 where nobody sets it. More makes
    /// large frames faster and websockets dearer
    #[arg(long, value_name = "KIB", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub nginx_buffer: u32,
}
