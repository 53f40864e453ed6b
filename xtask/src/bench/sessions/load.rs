//! The load: many objects created and deleted.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kube::{
    Client,
    api::{DeleteParams, PostParams, Request},
};
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::watch::Watch;

/// Concurrent requests. Fewer are enough to keep the API server busy.
const CONCURRENCY: usize = 64;
/// A load without progress for this long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Many objects of one kind.
pub struct Load<'a> {
    pub client: &'a Client,
    /// Such as `/api/v1/namespaces/bench/pods`.
    pub path: String,
    pub count: usize,
    /// How many are created per second, `None` for as fast as possible.
    pub rate: Option<u32>,
    /// Builds the object with a name.
    pub object: Box<dyn Fn(&str) -> Value + 'a>,
}

impl Load<'_> {
    /// Creates all objects and waits until they are Ready. Returns the start and the end of each.
    pub async fn create(&self, title: &str, watch: &mut Watch) -> Result<Vec<(Instant, Instant)>> {
        let requests = self.names().map(|name| {
            let object = serde_json::to_vec(&(self.object)(&name))?;
            Ok((name, Request::new(&*self.path).create(&PostParams::default(), object)?))
        });
        let requests = requests.collect::<Result<Vec<_>>>()?;
        let (created, _) = tokio::try_join!(
            send(self.client, requests, self.rate),
            progress(title, "Ready", self.count, watch, Watch::ready)
        )?;
        let ready = watch.take_ready();
        let both = |(name, began): (&String, &Instant)| Some((*began, *ready.get(name)?));
        Ok(created.iter().filter_map(both).collect())
    }

    /// Deletes all objects. Returns how long it takes until they, and the objects in the other watches, are gone.
    pub async fn delete(&self, title: &str, watches: &mut [&mut Watch]) -> Result<Duration> {
        let requests = self
            .names()
            .map(|name| Ok((name.clone(), Request::new(&*self.path).delete(&name, &DeleteParams::default())?)));
        let requests = requests.collect::<Result<Vec<_>>>()?;
        let began = Instant::now();
        let gone = async {
            for watch in watches {
                progress(title, "gone", self.count, watch, Watch::gone).await?;
            }
            Ok(())
        };
        tokio::try_join!(send(self.client, requests, None), gone)?;
        Ok(began.elapsed())
    }

    fn names(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(|number| format!("bench-{number:05}"))
    }
}

/// Sends all requests. Returns when each was sent.
async fn send(
    client: &Client,
    requests: Vec<(String, http::Request<Vec<u8>>)>,
    rate: Option<u32>,
) -> Result<HashMap<String, Instant>> {
    let mut pace = rate.map(|rate| interval(Duration::from_secs(1) / rate));
    pace.iter_mut().for_each(|pace| pace.set_missed_tick_behavior(MissedTickBehavior::Burst));
    let free = Arc::new(Semaphore::new(CONCURRENCY));
    let mut sent = JoinSet::new();
    for (name, request) in requests {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let turn = free.clone().acquire_owned().await?;
        let client = client.clone();
        sent.spawn(async move {
            let began = Instant::now();
            let answer = client.request_text(request).await;
            drop(turn);
            answer.map(|_| (name.clone(), began)).with_context(|| format!("request for {name}"))
        });
    }
    let mut started = HashMap::new();
    while let Some(one) = sent.join_next().await {
        let (name, began) = one.context("a thread panicked")??;
        started.insert(name, began);
    }
    Ok(started)
}

/// Prints the progress every two seconds until `so_far` reaches `count`.
async fn progress(title: &str, what: &str, count: usize, watch: &mut Watch, so_far: fn(&Watch) -> usize) -> Result<()> {
    let began = Instant::now();
    let (mut last, mut changed, mut printed) = (0, began, began);
    loop {
        watch.check().await?;
        let now = so_far(watch);
        if now != last {
            (last, changed) = (now, Instant::now());
        }
        if now >= count || printed.elapsed() > Duration::from_secs(2) {
            eprintln!("{title}: {now} of {count} {what} after {:.1} s", began.elapsed().as_secs_f64());
            printed = Instant::now();
        }
        if now >= count {
            return Ok(());
        }
        if changed.elapsed() > PATIENCE {
            bail!("{title}: only {now} of {count} are {what}, and no more for {} s", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(20)).await;
    }
}
