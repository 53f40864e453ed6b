//! A watch of one object, in which nothing may happen for months.

use std::{fmt::Debug, future};

use futures::{Stream, StreamExt};
use kube::{
    Api, Resource,
    runtime::watcher::{self, Config, Event, watcher},
};
use serde::de::DeserializeOwned;

use crate::Lenient;

/// How many seconds the API server keeps a watch open. While no object of the kind changes, it sends nothing, not even a bookmark:
/// this has to be shorter than the silence for which a client takes the connection for broken.
const DURATION: u32 = 60;

/// The object with this name each time that it changes, `None` whenever there is none. It never ends: after an error it continues.
pub fn watch_one<K>(
    api: Api<Lenient<K>>,
    name: &str,
) -> impl Stream<Item = watcher::Result<Option<Lenient<K>>>> + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    Lenient<K>: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = Config::default().fields(&format!("metadata.name={name}")).timeout(DURATION);
    let mut is_listed = false;
    #[expect(clippy::disallowed_methods, reason = "what is watched is Lenient")]
    let events = watcher(api, config);
    events.filter_map(move |event| {
        future::ready(match event {
            Ok(Event::Init) => {
                is_listed = false;
                None
            }
            Ok(Event::InitApply(object)) => {
                is_listed = true;
                Some(Ok(Some(object)))
            }
            Ok(Event::InitDone) => (!is_listed).then_some(Ok(None)),
            Ok(Event::Apply(object)) => Some(Ok(Some(object))),
            Ok(Event::Delete(_)) => Some(Ok(None)),
            Err(error) => Some(Err(error)),
        })
    })
}
