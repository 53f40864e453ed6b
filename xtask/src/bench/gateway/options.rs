use std::path::PathBuf;

#[derive(Clone, clap::Args)]
pub struct Options {
    /// Number of rounds, each about five seconds long
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,

    /// Number of idle websockets when memory is measured
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub idle: u32,

    /// nginx's proxy_buffer_size in KiB, 4 by default in nginx; more makes large frames faster and websockets larger
    #[arg(long, value_name = "KIB", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub nginx_buffer: u32,

    /// Measure this binary rather than that of this tree, to compare two
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}
