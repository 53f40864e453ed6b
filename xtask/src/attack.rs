//! `cargo xtask attack`: an attacker with a user's rights, next to users at work.

use std::time::Instant;

use anyhow::{Result, ensure};
use vdi_tests::{attack::Siege, target};

use crate::stop::unless_stopped;

#[derive(clap::Args)]
pub struct Options {
    /// The seed of the first run
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Number of seeds to try
    #[arg(long, default_value_t = 1)]
    seeds: u64,
}

pub async fn run(options: &Options) -> Result<()> {
    unless_stopped(play(options)).await
}

async fn play(options: &Options) -> Result<()> {
    let mut siege = Siege::start(&target().join("clusters/attack-long")).await?;
    let mut failed = Vec::new();
    for seed in (options.seed..).take(usize::try_from(options.seeds)?) {
        let began = Instant::now();
        match siege.play(seed).await {
            Ok(taken) => {
                println!("seed {seed}: passed, {taken} attempts succeeded, in {:.0} s", began.elapsed().as_secs_f64());
            }
            Err(error) => {
                println!("seed {seed}: FAILED: {error:#}");
                failed.push(seed.to_string());
            }
        }
    }
    ensure!(failed.is_empty(), "failed with seed {}; see above", failed.join(", "));
    Ok(())
}
