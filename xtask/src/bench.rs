//! `cargo xtask bench`: figures, not tests. docs/performance.md has some, with the machine that they are from.

use vdi_tests::{process, setup};

#[derive(clap::Args)]
pub struct Options {
    /// What to measure
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// The admission policy beside a module that does nothing
    Policy,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    match options.what {
        What::Policy => policy(),
    }
}

pub fn policy() -> anyhow::Result<()> {
    setup::wasm_target()?;
    process::cargo(["bench", "--package=vdi-tests", "--bench=policy"])
}
