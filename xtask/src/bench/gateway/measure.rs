//! The measurements of a route.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::{task::JoinSet, time::sleep};

use super::route::{Route, Visitor};
use crate::bench::{
    cpu,
    figures::{median, percentile},
};

/// The size of a message to the desktop and of its reply. All sizes are in bytes.
pub const SMALL: u64 = 16;
pub const LARGE: u64 = 1 << 20;
/// How much each websocket carries before it is idle.
pub const PICTURE: u64 = 64 << 10;

/// Round trips per round.
const ROUND_TRIPS: usize = 2000;
/// Round trips before those, which don't count.
const WARM_UP: usize = 200;
const LARGE_FRAMES: u64 = 384;
const CONNECTIONS: usize = 600;
/// How many connections are opened at a time.
const CONCURRENCY: usize = 8;
/// How much a client reads at once.
const BUFFER: usize = 64 << 10;
/// How long the websockets are idle before memory is measured.
const REST: Duration = Duration::from_secs(2);

/// One round of measurements.
pub struct Round {
    pub p50: Duration,
    pub p99: Duration,
    /// The amount is in bytes.
    pub frames: Work,
    pub connections: Work,
}

/// An amount of work, and what it took.
#[derive(Clone, Copy)]
pub struct Work {
    amount: f64,
    took: Duration,
    /// The proxy's CPU time, zero for a direct connection.
    cpu: Duration,
}

impl Work {
    pub fn per_second(&self) -> f64 {
        self.amount / self.took.as_secs_f64()
    }

    /// The proxy's CPU time for `amount`, in seconds. Over all rounds, since ticks of 10 ms are too coarse for one.
    pub fn cpu(all: impl Iterator<Item = Self>, amount: f64) -> f64 {
        let (cpu, done) = all.fold((0.0, 0.0), |(cpu, done), work| (cpu + work.cpu.as_secs_f64(), done + work.amount));
        cpu * amount / done
    }
}

impl Round {
    pub async fn measure(route: &Route, visitor: &Visitor) -> Result<Self> {
        let latencies = round_trips(route, visitor).await?;
        let frames = Meter::start(route)?;
        let frames = frames.done(large_frames(route, visitor).await?)?;
        let connections = Meter::start(route)?;
        connect(route, visitor).await?;
        let connections = connections.done(CONNECTIONS as f64)?;
        Ok(Self { p50: percentile(&latencies, 50), p99: percentile(&latencies, 99), frames, connections })
    }
}

/// Sorted latencies.
async fn round_trips(route: &Route, visitor: &Visitor) -> Result<Vec<Duration>> {
    let mut websocket = route.open(visitor).await?;
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

/// Returns the number of bytes received.
async fn large_frames(route: &Route, visitor: &Visitor) -> Result<f64> {
    let mut websocket = route.open(visitor).await?;
    websocket.ask(LARGE_FRAMES, LARGE, &mut vec![0; BUFFER]).await?;
    Ok((LARGE_FRAMES * LARGE) as f64)
}

async fn connect(route: &Route, visitor: &Visitor) -> Result<()> {
    let mut clients = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (route, visitor) = (route.clone(), visitor.clone());
        clients.spawn(async move {
            for _ in 0..CONNECTIONS / CONCURRENCY {
                route.get(&visitor).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client.context("a thread panicked")??;
    }
    Ok(())
}

/// How much a proxy's memory grows per idle websocket, in bytes. Only meaningful for a fresh proxy: one that has worked before
/// can reuse memory.
pub async fn idle_memory(route: &Route, visitors: &[Visitor], count: usize) -> Result<Option<f64>> {
    let Some(proxy) = route.proxy else { return Ok(None) };
    route.get(&visitors[0]).await?;
    let before = cpu::memory_of_all(proxy)?;
    let mut websockets = Vec::with_capacity(count);
    let mut buffer = vec![0; BUFFER];
    for visitor in visitors.iter().cycle().take(count) {
        let mut websocket = route.open(visitor).await?;
        // Allocates its buffers, as in a desktop that has been used.
        websocket.ask(1, PICTURE, &mut buffer).await?;
        websockets.push(websocket);
    }
    sleep(REST).await;
    let grown = cpu::memory_of_all(proxy)? as f64 - before as f64;
    Ok(Some(grown / websockets.len() as f64))
}

/// Measures time and the proxy's CPU time of some work.
struct Meter<'a> {
    route: &'a Route,
    began: Instant,
    cpu: Duration,
}

impl<'a> Meter<'a> {
    fn start(route: &'a Route) -> Result<Self> {
        Ok(Self { route, cpu: proxy_cpu(route)?, began: Instant::now() })
    }

    fn done(&self, amount: f64) -> Result<Work> {
        let took = self.began.elapsed();
        Ok(Work { amount, took, cpu: proxy_cpu(self.route)?.saturating_sub(self.cpu) })
    }
}

fn proxy_cpu(route: &Route) -> Result<Duration> {
    route.proxy.map_or(Ok(Duration::ZERO), cpu::of_all)
}

/// All measurements of a route.
pub struct Measured {
    pub name: &'static str,
    pub rounds: Vec<Round>,
    /// The proxy's memory per websocket, in bytes.
    pub idle_memory: Option<f64>,
}

impl Measured {
    pub fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }

    /// The median of the differences to another route in the same round.
    pub fn more(&self, other: &Self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(round, other)| of(round) - of(other)))
    }
}
