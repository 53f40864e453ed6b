//! A watch that also tells that it is alive. kube's own keeps to itself what doesn't change anything: bookmarks, and watches that
//! have come to their end and are begun again.

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

/// A watch is begun anew so often, in seconds. Shortly before, the API server sends a bookmark.
const RENEWAL: u32 = 5;
/// How long the API server may take to begin a watch, and to end one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Objects in one answer to a list.
const PAGE: u32 = 500;

/// What comes over a watch.
#[derive(Debug)]
pub enum Heard<K> {
    Event(Event<K>),
    /// Nothing has changed, up to now.
    NoChange,
}

type Watching<K> = BoxStream<'static, kube::Result<WatchEvent<K>>>;

enum State<K> {
    /// Everything is to be read, from here on.
    List {
        rest: Option<String>,
    },
    /// What is known is of this version.
    Listed {
        version: String,
    },
    Watching {
        version: String,
        events: Watching<K>,
        since: Instant,
    },
}

/// Lists and watches what has these labels, what can't be parsed too. It never ends; after an error it goes on, and until then nothing
/// is known to be as it was.
pub fn watch<K>(
    api: Api<Lenient<K>>,
    labels: Option<&str>,
) -> impl Stream<Item = watcher::Result<Heard<Lenient<K>>>> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let labels = labels.map(str::to_owned);
    stream::unfold((api, labels, State::START), |(api, labels, state): (_, _, State<Lenient<K>>)| async move {
        let (heard, state) = state.step(&api, labels.clone()).await;
        Some((stream::iter(heard), (api, labels, state)))
    })
    .flatten()
}

type Step<K> = (Vec<watcher::Result<Heard<K>>>, State<K>);

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
    let heard = |event| Ok(Heard::Event(event));
    match (rest.filter(|rest| !rest.is_empty()), version) {
        (Some(rest), _) => (begun.into_iter().chain(objects).map(heard).collect(), State::List { rest: Some(rest) }),
        (None, Some(version)) => {
            let all = begun.into_iter().chain(objects).chain([Event::InitDone]);
            (all.map(heard).collect(), State::Listed { version })
        }
        (None, None) => (vec![Err(watcher::Error::NoResourceVersion)], State::START),
    }
}

async fn begin<K>(api: &Api<K>, labels: Option<String>, version: String) -> Step<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let params =
        WatchParams { label_selector: labels, timeout: Some(RENEWAL), bookmarks: true, ..WatchParams::default() };
    let since = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "what is watched is Lenient")]
    match timeout(PATIENCE, api.watch(&params, &version)).await {
        Ok(Ok(events)) => (Vec::new(), State::Watching { version, events: events.boxed(), since }),
        Ok(Err(error)) => {
            let is_too_old = matches!(&error, kube::Error::Api(status) if status.code == 410);
            let state = if is_too_old { State::START } else { State::Listed { version } };
            (vec![Err(watcher::Error::WatchStartFailed(error))], state)
        }
        // A connection on which nothing comes is broken, and says so itself sooner or later.
        Err(_) => (Vec::new(), State::Listed { version }),
    }
}

async fn next<K>(version: String, mut events: Watching<K>, since: Instant) -> Step<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let full_time = Duration::from_secs(RENEWAL.into());
    let Ok(event) = timeout(full_time + PATIENCE, events.next()).await else {
        return (Vec::new(), State::Listed { version });
    };
    let (heard, version) = match event {
        Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
            let version = object.resource_version();
            (Heard::Event(Event::Apply(object)), version)
        }
        Some(Ok(WatchEvent::Deleted(object))) => {
            let version = object.resource_version();
            (Heard::Event(Event::Delete(object)), version)
        }
        Some(Ok(WatchEvent::Bookmark(bookmark))) => (Heard::NoChange, Some(bookmark.metadata.resource_version)),
        Some(Ok(WatchEvent::Error(status))) => {
            let state = if status.code == 410 { State::START } else { State::Listed { version } };
            return (vec![Err(watcher::Error::WatchError(status))], state);
        }
        Some(Err(error)) => return (vec![Err(watcher::Error::WatchFailed(error))], State::Listed { version }),
        // It was there to the end that it was asked for. One that ends before that was cut off.
        None if since.elapsed() >= full_time - Duration::from_secs(1) => {
            return (vec![Ok(Heard::NoChange)], State::Listed { version });
        }
        None => return (Vec::new(), State::Listed { version }),
    };
    match version {
        Some(version) => (vec![Ok(heard)], State::Watching { version, events, since }),
        None => (vec![Err(watcher::Error::NoResourceVersion)], State::START),
    }
}
