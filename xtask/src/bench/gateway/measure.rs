//! What is measured of a way.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::{task::JoinSet, time::sleep};

use super::way::{Visitor, Way};
use crate::bench::{
    cpu,
    figures::{median, percentile},
};

/// Of a message to the desktop, and of the one that comes back. In bytes, as all sizes here.
pub const SMALL: u64 = 16;
pub const LARGE: u64 = 1 << 20;
/// What each of the idle websockets has shown before.
pub const PICTURE: u64 = 64 << 10;

/// Of each in a round; the first of them is left out.
const ROUND_TRIPS: usize = 2000;
const WARM_UP: usize = 200;
const LARGE_FRAMES: u64 = 384;
const CONNECTIONS: usize = 600;
/// So many connections are begun at a time.
const CONCURRENCY: usize = 8;
/// What a client reads at once.
const BUFFER: usize = 64 << 10;
/// How long idle websockets are left alone before the memory is read.
const REST: Duration = Duration::from_secs(2);

/// One round of a way.
pub struct Round {
    pub p50: Duration,
    pub p99: Duration,
    /// In bytes.
    pub frames: Work,
    pub connections: Work,
}

/// An amount of something that was done.
#[derive(Clone, Copy)]
pub struct Work {
    amount: f64,
    took: Duration,
    /// The proxy's; zero where there is none.
    cpu: Duration,
}

impl Work {
    pub fn a_second(&self) -> f64 {
        self.amount / self.took.as_secs_f64()
    }

    /// Seconds of the proxy's CPU for so much, over all rounds: in one of them, ticks of 10 ms are coarse.
    pub fn cpu(all: impl Iterator<Item = Self>, amount: f64) -> f64 {
        let (cpu, done) = all.fold((0.0, 0.0), |(cpu, done), work| (cpu + work.cpu.as_secs_f64(), done + work.amount));
        cpu * amount / done
    }
}

impl Round {
    pub async fn measure(way: &Way, visitor: &Visitor) -> Result<Self> {
        let latencies = round_trips(way, visitor).await?;
        let frames = Meter::start(way)?;
        let frames = frames.done(large_frames(way, visitor).await?)?;
        let connections = Meter::start(way)?;
        connect(way, visitor).await?;
        let connections = connections.done(CONNECTIONS as f64)?;
        Ok(Self { p50: percentile(&latencies, 50), p99: percentile(&latencies, 99), frames, connections })
    }
}

/// Sorted.
async fn round_trips(way: &Way, visitor: &Visitor) -> Result<Vec<Duration>> {
    let mut websocket = way.open(visitor).await?;
    let mut buffer = [0; 64];
    let mut latencies = Vec::with_capacity(WARM_UP + ROUND_TRIPS);
    for _ in 0..WARM_UP + ROUND_TRIPS {
        let began = Instant::now();
        websocket.ask(1, SMALL, &mut buffer).await?;
        latencies.push(began.elapsed());
    }
    let mut latencies = latencies.split_off(WARM_UP);
    latencies.sort();
    Ok(latencies)
}

/// How many bytes that were.
async fn large_frames(way: &Way, visitor: &Visitor) -> Result<f64> {
    let mut websocket = way.open(visitor).await?;
    websocket.ask(LARGE_FRAMES, LARGE, &mut vec![0; BUFFER]).await?;
    Ok((LARGE_FRAMES * LARGE) as f64)
}

async fn connect(way: &Way, visitor: &Visitor) -> Result<()> {
    let mut clients = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (way, visitor) = (way.clone(), visitor.clone());
        clients.spawn(async move {
            for _ in 0..CONNECTIONS / CONCURRENCY {
                way.get(&visitor).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client.context("a thread panicked")??;
    }
    Ok(())
}

/// What a proxy's memory grows by with each websocket that is open and idle, in bytes. It counts once, in a proxy that has
/// done nothing yet: what it has had before, it could use again.
pub async fn idle_memory(way: &Way, visitors: &[Visitor], count: usize) -> Result<Option<f64>> {
    let Some(proxy) = way.proxy else { return Ok(None) };
    way.get(&visitors[0]).await?;
    let before = cpu::memory_of_all(proxy)?;
    let mut websockets = Vec::with_capacity(count);
    let mut buffer = vec![0; BUFFER];
    for visitor in visitors.iter().cycle().take(count) {
        let mut websocket = way.open(visitor).await?;
        // So that its buffers are there, as they are at a desktop that somebody has used.
        websocket.ask(1, PICTURE, &mut buffer).await?;
        websockets.push(websocket);
    }
    sleep(REST).await;
    let grown = cpu::memory_of_all(proxy)? as f64 - before as f64;
    Ok(Some(grown / websockets.len() as f64))
}

/// Looks at the clock and at the proxy's CPU time before and after some work.
struct Meter<'a> {
    way: &'a Way,
    began: Instant,
    cpu: Duration,
}

impl<'a> Meter<'a> {
    fn start(way: &'a Way) -> Result<Self> {
        Ok(Self { way, cpu: proxy_cpu(way)?, began: Instant::now() })
    }

    fn done(&self, amount: f64) -> Result<Work> {
        let took = self.began.elapsed();
        Ok(Work { amount, took, cpu: proxy_cpu(self.way)?.saturating_sub(self.cpu) })
    }
}

fn proxy_cpu(way: &Way) -> Result<Duration> {
    way.proxy.map_or(Ok(Duration::ZERO), cpu::of_all)
}

/// A way, and what was measured of it.
pub struct Measured {
    pub name: &'static str,
    pub rounds: Vec<Round>,
    /// Bytes of the proxy a websocket.
    pub idle_memory: Option<f64>,
}

impl Measured {
    pub fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }

    /// What this is more than another in the same round, as a median.
    pub fn more(&self, other: &Self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(round, other)| of(round) - of(other)))
    }
}
