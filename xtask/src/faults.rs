//! `cargo xtask faults`: the controller in trouble, for as long as it takes.

use std::time::Instant;

use anyhow::{Result, bail};
use futures::future::try_join_all;
use tokio::sync::Mutex;
use vdi_tests::{
    faults::{Arena, Length, Scenario},
    setup, target,
};

use crate::stop::Stop;

#[derive(clap::Args)]
pub struct Options {
    /// The seed of the first run; another one each time where it isn't given
    #[arg(long)]
    seed: Option<u64>,

    /// How many seeds to try
    #[arg(long, default_value_t = 1)]
    seeds: u64,

    /// How many runs at a time, each in a cluster of its own: most of a run is waiting
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,

    /// What to try; everything that the controller is meant to stand where it isn't given
    #[arg(long)]
    scenario: Vec<Scenario>,

    /// Up to 200 sessions at once, longer storms, and a minute of silence
    #[arg(long)]
    long: bool,
}

pub async fn run(options: &Options) -> Result<()> {
    let mut stop = Stop::new()?;
    tokio::select! {
        result = play(options) => result,
        () = stop.asked() => bail!("interrupted; everything that was started is gone again"),
    }
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
    try_join_all((1..=options.jobs).map(|job| play_all(job, &runs, length))).await.map(drop)
}

/// Plays what the other jobs have left.
async fn play_all(job: u8, runs: &Mutex<impl Iterator<Item = (u64, Scenario)>>, length: Length) -> Result<()> {
    let arena = Arena::start(&target().join(format!("clusters/faults-{job}"))).await?;
    loop {
        // The lock is given back before the run.
        let next = runs.lock().await.next();
        let Some((seed, scenario)) = next else { return Ok(()) };
        let began = Instant::now();
        let faults = arena.play(scenario, seed, length).await?;
        println!("{scenario}, seed {seed}: held, {faults} faults in {:.0} s", began.elapsed().as_secs_f64());
    }
}

/// Short enough to be typed.
fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_micros())
}
