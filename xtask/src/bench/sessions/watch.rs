//! A watch that records when objects become Ready and how many are gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Client,
    api::{ListParams, Request, WatchEvent, WatchParams},
};
use serde::Deserialize;
use tokio::task::JoinHandle;

/// A watch of all objects of a kind in a namespace. Dropping it ends it.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<Result<()>>,
}

/// By the name of the object.
#[derive(Default)]
struct Seen {
    ready: HashMap<String, Instant>,
    gone: usize,
}

impl Watch {
    /// Watches `path`, such as `/api/v1/namespaces/bench/pods`.
    pub async fn start(client: Client, path: &str) -> Result<Self> {
        let requests = Request::new(path);
        let list: Object = client.request(requests.list(&ListParams::default().limit(1))?).await?;
        let seen = Arc::new(Mutex::<Seen>::default());
        let task = tokio::spawn(follow(client, requests, list.metadata.resource_version, seen.clone()));
        Ok(Self { seen, task })
    }

    /// Returns an error if the watch has ended.
    pub async fn check(&mut self) -> Result<()> {
        match self.task.is_finished() {
            true => (&mut self.task).await.context("a thread panicked")?,
            false => Ok(()),
        }
    }

    pub fn ready(&self) -> usize {
        self.seen().ready.len()
    }

    pub fn gone(&self) -> usize {
        self.seen().gone
    }

    /// When each object was first seen Ready.
    pub fn take_ready(&self) -> HashMap<String, Instant> {
        std::mem::take(&mut self.seen().ready)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The fields that are parsed. Parsing all of an object would slow down the shared machine.
#[derive(Clone, Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    resource_version: String,
}

#[derive(Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl Object {
    /// Works for pods and sessions alike. A session is Ready when it is Running.
    fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    }
}

async fn follow(client: Client, requests: Request, mut version: String, seen: Arc<Mutex<Seen>>) -> Result<()> {
    loop {
        let request = requests.watch(&WatchParams::default(), &version)?;
        let mut events = client.request_events::<Object>(request).await?.boxed();
        while let Some(event) = events.try_next().await? {
            let now = Instant::now();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    if object.is_ready() {
                        seen.ready.entry(object.metadata.name).or_insert(now);
                    }
                    version = object.metadata.resource_version;
                }
                WatchEvent::Deleted(object) => {
                    seen.gone += 1;
                    version = object.metadata.resource_version;
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => anyhow::bail!("the watch failed: {}", status.message),
            }
        }
    }
}
