#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Output {
    Json,
}
