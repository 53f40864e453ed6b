//! A watch that also reports that it is alive. kube's own watcher hides what changes nothing: bookmarks, and watches
//! that ran out and were restarted.

use std::{fmt::Debug, time::Duration};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use vdi_service::Lenient;

#[cfg(test)]
mod tests;

/// How long a watch lasts, in seconds. Shortly before it ends, the API server sends a bookmark.
const DURATION: u32 = 5;
/// How long the API server may take to start a watch, and to end one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Objects per page of a list.
const PAGE: u32 = 500;

/// What a watch yields.
#[derive(Debug)]
pub enum WatchItem<K> {
    Event(Event<K>),
    /// Nothing has changed up to now.
    Unchanged,
}

type Watching<K> = BoxStream<'static, kube::Result<WatchEvent<K>>>;

enum State<K> {
    /// Listing all objects, from this continue token on.
    List {
        rest: Option<String>,
    },
    /// Everything up to this resourceVersion is known.
    Listed {
        version: String,
    },
    Watching {
        version: String,
        events: Watching<K>,
        since: Instant,
    },
}

/// Lists and watches the objects with these labels, including those that can't be parsed. It never ends: after an error
/// it continues, and until then what is known may be out of date.
pub fn watch<K>(
    api: Api<Lenient<K>>,
    labels: Option<&str>,
) -> impl Stream<Item = watcher::Result<WatchItem<Lenient<K>>>> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let labels = labels.map(str::to_owned);
    stream::unfold((api, labels, State::START), |(api, labels, state): (_, _, State<Lenient<K>>)| async move {
        let (items, state) = state.step(&api, labels.clone()).await;
        Some((stream::iter(items), (api, labels, state)))
    })
    .flatten()
}

type Step<K> = (Vec<watcher::Result<WatchItem<K>>>, State<K>);

impl<K> State<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    const START: Self = Self::List { rest: None };

    async fn step(self, api: &Api<K>, labels: Option<String>) -> Step<K> {
        match self {
            Self::List { rest } => list(api, labels, rest).await,
            Self::Listed { version } => begin(api, labels, version).await,
            Self::Watching { version, events, since } => next(version, events, since).await,
        }
    }
}

async fn list<K>(api: &Api<K>, labels: Option<String>, rest: Option<String>) -> Step<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let is_first = rest.is_none();
    let params =
        ListParams { label_selector: labels, limit: Some(PAGE), continue_token: rest, ..ListParams::default() };
    #[expect(clippy::disallowed_methods, reason = "what is listed is Lenient")]
    let list = match api.list(&params).await {
        Ok(list) => list,
        Err(error) => return (vec![Err(watcher::Error::InitialListFailed(error))], State::START),
    };
    let (rest, version) = (list.metadata.continue_, list.metadata.resource_version);
    let begun = is_first.then_some(Event::Init);
    let objects = list.items.into_iter().map(Event::InitApply);
    let item = |event| Ok(WatchItem::Event(event));
    match (rest.filter(|rest| !rest.is_empty()), version) {
        (Some(rest), _) => (begun.into_iter().chain(objects).map(item).collect(), State::List { rest: Some(rest) }),
        (None, Some(version)) => {
            let all = begun.into_iter().chain(objects).chain([Event::InitDone]);
            (all.map(item).collect(), State::Listed { version })
        }
        (None, None) => (vec![Err(watcher::Error::NoResourceVersion)], State::START),
    }
}

async fn begin<K>(api: &Api<K>, labels: Option<String>, version: String) -> Step<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let params =
        WatchParams { label_selector: labels, timeout: Some(DURATION), bookmarks: true, ..WatchParams::default() };
    let since = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "what is watched is Lenient")]
    match timeout(PATIENCE, api.watch(&params, &version)).await {
        Ok(Ok(events)) => (Vec::new(), State::Watching { version, events: events.boxed(), since }),
        Ok(Err(error)) => {
            let is_too_old = matches!(&error, kube::Error::Api(status) if status.code == 410);
            let state = if is_too_old { State::START } else { State::Listed { version } };
            (vec![Err(watcher::Error::WatchStartFailed(error))], state)
        }
        // A connection on which nothing arrives is broken, and reports that itself sooner or later.
        Err(_) => (Vec::new(), State::Listed { version }),
    }
}

async fn next<K>(version: String, mut events: Watching<K>, since: Instant) -> Step<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let full_time = Duration::from_secs(DURATION.into());
    let Ok(event) = timeout(full_time + PATIENCE, events.next()).await else {
        return (Vec::new(), State::Listed { version });
    };
    let (item, version) = match event {
        Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
            let version = object.resource_version();
            (WatchItem::Event(Event::Apply(object)), version)
        }
        Some(Ok(WatchEvent::Deleted(object))) => {
            let version = object.resource_version();
            (WatchItem::Event(Event::Delete(object)), version)
        }
        Some(Ok(WatchEvent::Bookmark(bookmark))) => (WatchItem::Unchanged, Some(bookmark.metadata.resource_version)),
        Some(Ok(WatchEvent::Error(status))) => {
            let state = if status.code == 410 { State::START } else { State::Listed { version } };
            return (vec![Err(watcher::Error::WatchError(status))], state);
        }
        Some(Err(error)) => return (vec![Err(watcher::Error::WatchFailed(error))], State::Listed { version }),
        // It lasted as long as requested. A watch that ends earlier was cut off.
        None if since.elapsed() >= full_time - Duration::from_secs(1) => {
            return (vec![Ok(WatchItem::Unchanged)], State::Listed { version });
        }
        None => return (Vec::new(), State::Listed { version }),
    };
    match version {
        Some(version) => (vec![Ok(item)], State::Watching { version, events, since }),
        None => (vec![Err(watcher::Error::NoResourceVersion)], State::START),
    }
}
