//! Objects that could not be parsed, by kind. They are set aside, and lists and watches go on with the rest.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{Api, Resource, api::ListParams, runtime::watcher::Event};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};
use serde::de::DeserializeOwned;

use crate::lenient::{Lenient, Unreadable};

/// Namespace (empty for cluster-scoped kinds) and name.
pub type Key = (String, String);

/// The objects that could not be parsed, by kind. Shared by all lists and watches.
#[derive(Debug, Default)]
pub struct Aside(Mutex<BTreeMap<String, Kind>>);

#[derive(Debug, Default)]
struct Kind {
    objects: BTreeMap<Key, Unreadable>,
    /// During an initial list: the objects that could not be parsed so far.
    reading: Option<BTreeMap<Key, Unreadable>>,
}

/// An event of a watch, once its objects are sorted.
#[derive(Debug)]
pub enum Sorted<K> {
    Event(Event<K>),
    /// The object with this key can't be parsed any more, or couldn't be and is deleted: its last known state is out of date.
    Unknown(Key),
}

impl Aside {
    /// Announces a kind, so that its count is published as 0 before anything is read.
    pub fn expect<K: Resource<DynamicType = ()>>(&self) {
        self.lock().entry(kind::<K>()).or_default();
    }

    /// Sorts out objects that can't be parsed. Every event of a watch must pass through here.
    pub fn sort<K: Resource<DynamicType = ()>>(&self, event: Event<Lenient<K>>) -> Option<Sorted<K>> {
        let mut kinds = self.lock();
        let kind = kinds.entry(kind::<K>()).or_default();
        let event = match event {
            Event::Apply(Lenient::Parsed(object)) => {
                kind.objects.remove(&key(&object));
                Event::Apply(object)
            }
            Event::Delete(Lenient::Parsed(object)) => {
                kind.objects.remove(&key(&object));
                Event::Delete(object)
            }
            Event::Apply(Lenient::Unreadable(object)) => return Some(Sorted::Unknown(kind.set_aside::<K>(*object))),
            Event::Delete(Lenient::Unreadable(object)) => {
                let key = object.key();
                kind.objects.remove(&key);
                return Some(Sorted::Unknown(key));
            }
            Event::Init => {
                kind.reading = Some(BTreeMap::new());
                Event::Init
            }
            Event::InitApply(Lenient::Parsed(object)) => Event::InitApply(object),
            Event::InitApply(Lenient::Unreadable(object)) => {
                kind.reading.get_or_insert_default().insert(object.key(), (*object).clone());
                kind.set_aside::<K>(*object);
                return None;
            }
            Event::InitDone => {
                kind.objects = kind.reading.take().unwrap_or_default();
                Event::InitDone
            }
        };
        Some(Sorted::Event(event))
    }

    /// The only object of its kind that is watched, if it can be parsed.
    pub fn only<K: Resource<DynamicType = ()>>(&self, object: Lenient<K>) -> Option<K> {
        match self.sort(Event::Apply(object))? {
            Sorted::Event(Event::Apply(object)) => Some(object),
            _ => None,
        }
    }

    /// Lists the objects that can be parsed.
    ///
    /// # Errors
    /// When the API server refuses the request or can't be reached.
    pub async fn list<K>(&self, api: &Api<Lenient<K>>, params: &ListParams) -> Result<Vec<K>, kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        self.expect::<K>();
        let mut readable = Vec::new();
        #[expect(clippy::disallowed_methods, reason = "this is its replacement")]
        for object in api.list(params).await? {
            match object {
                Lenient::Parsed(object) => readable.push(object),
                Lenient::Unreadable(object) => warn::<K>(&object),
            }
        }
        Ok(readable)
    }

    /// The object with this name, if it could not be parsed.
    pub fn get<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) -> Option<Unreadable> {
        let kinds = self.lock();
        kinds.get(&kind::<K>())?.objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All objects of a kind that could not be parsed.
    pub fn all<K: Resource<DynamicType = ()>>(&self) -> Vec<Unreadable> {
        self.lock().get(&kind::<K>()).map(|kind| kind.objects.values().cloned().collect()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The metric `objects_set_aside`: how many objects could not be parsed, by kind.
#[derive(Debug)]
pub struct SetAside(pub Arc<Aside>);

impl Collector for SetAside {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "Objects that could not be parsed and are ignored, by kind";
        let mut metric = encoder.encode_descriptor("objects_set_aside", help, None, MetricType::Gauge)?;
        for (kind, Kind { objects, .. }) in &*self.0.lock() {
            let count = i64::try_from(objects.len()).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(metric.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }
}

impl Kind {
    fn set_aside<K: Resource<DynamicType = ()>>(&mut self, object: Unreadable) -> Key {
        let key = object.key();
        // Every change of the object arrives here; the same error is logged only once.
        if self.objects.get(&key).is_none_or(|before| before.error != object.error) {
            warn::<K>(&object);
        }
        self.objects.insert(key.clone(), object);
        key
    }
}

/// Maps the object of an event.
pub fn map_event<K, L>(event: Event<K>, map: impl FnOnce(K) -> L) -> Event<L> {
    match event {
        Event::Apply(object) => Event::Apply(map(object)),
        Event::Delete(object) => Event::Delete(map(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(map(object)),
        Event::InitDone => Event::InitDone,
    }
}

fn warn<K: Resource<DynamicType = ()>>(object: &Unreadable) {
    let (name, namespace, error) = (object.name(), object.namespace(), &object.error);
    tracing::warn!(kind = %K::kind(&()), namespace, name, error, "ignoring an object that can't be parsed");
}

fn kind<K: Resource<DynamicType = ()>>() -> String {
    K::kind(&()).into_owned()
}

fn key<K: Resource>(object: &K) -> Key {
    let metadata = object.meta();
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

impl Unreadable {
    fn key(&self) -> Key {
        (self.namespace().to_owned(), self.name().to_owned())
    }
}

#[cfg(test)]
mod tests;
