//! `cargo xtask faults`: injects faults around the controller, for any number of seeds.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use tokio::sync::Mutex;
use vdi_tests::{
    faults::{Arena, Length, Scenario},
    setup, target,
};

use crate::stop::unless_stopped;

#[derive(clap::Args)]
pub struct Options {
    /// The seed of the first run; random by default
    #[arg(long)]
    seed: Option<u64>,

    /// Number of seeds to try
    #[arg(long, default_value_t = 1)]
    seeds: u64,

    /// Number of parallel runs, each in its own cluster; a run mostly waits
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,

    /// A scenario to play, repeatable; all by default
    #[arg(long)]
    scenario: Vec<Scenario>,

    /// Play longer: up to 200 sessions at once, longer storms, and a minute without requests
    #[arg(long)]
    long: bool,
}

pub async fn run(options: &Options) -> Result<()> {
    unless_stopped(play(options)).await
}

async fn play(options: &Options) -> Result<()> {
    let length = if options.long { Length::Long } else { Length::Short };
    let mut scenarios = options.scenario.clone();
    if scenarios.is_empty() {
        scenarios.extend(Scenario::ALL.into_iter().filter(|scenario| !Scenario::NOT_YET.contains(scenario)));
    }
    if scenarios.contains(&Scenario::Clock) {
        setup::false_clock().await?;
    }
    let first = options.seed.unwrap_or_else(fresh_seed);
    let seeds = (first..).take(usize::try_from(options.seeds)?);
    let runs = Mutex::new(seeds.flat_map(|seed| scenarios.iter().map(move |scenario| (seed, *scenario))));
    let failed = try_join_all((1..=options.jobs).map(|job| play_all(job, &runs, length))).await?.concat();
    ensure!(failed.is_empty(), "failed: {}; see above", failed.join(", "));
    Ok(())
}

/// Plays the scenarios that other jobs have not taken yet. Returns those that failed.
async fn play_all(job: u8, runs: &Mutex<impl Iterator<Item = (u64, Scenario)>>, length: Length) -> Result<Vec<String>> {
    let mut failed = Vec::new();
    let arena = Arena::start(&target().join(format!("clusters/faults-{job}"))).await?;
    loop {
        // The lock is released before the run.
        let next = runs.lock().await.next();
        let Some((seed, scenario)) = next else { return Ok(failed) };
        let began = Instant::now();
        match arena.play(scenario, seed, length).await {
            Ok(faults) => {
                let took = began.elapsed().as_secs_f64();
                println!("{scenario}, seed {seed}: passed, {faults} faults in {took:.0} s");
            }
            Err(error) => {
                println!("{scenario}, seed {seed}: FAILED: {error:#}");
                failed.push(format!("{scenario} with seed {seed}"));
            }
        }
    }
}

/// Short enough to type.
fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_micros())
}
