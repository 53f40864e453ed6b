//! The objects of one kind, as their watch reports them.
//!
//! kube's reflector store does not fit: it removes an object only when it is given that object, while of one that can't
//! be parsed any more only the key is left; and when a list has been read again, it does not tell which keys have gone.

use std::collections::HashMap;

use kube::runtime::watcher::Event;
pub use vdi_service::aside::Key;

pub struct Store<K> {
    objects: HashMap<Key, K>,
    /// What has been read so far, while everything is listed, for the first time or again.
    reading: Option<HashMap<Key, K>>,
    is_complete: bool,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), reading: None, is_complete: false }
    }
}

impl<K> Store<K> {
    /// Applies an event. `parse` makes the key and the value to keep from its object. Returns the keys that it may have
    /// changed.
    pub fn apply<Read>(&mut self, event: Event<Read>, parse: impl FnOnce(Read) -> (Key, K)) -> Vec<Key> {
        match event {
            Event::Apply(object) => {
                let (key, object) = parse(object);
                self.objects.insert(key.clone(), object);
                vec![key]
            }
            Event::Delete(object) => {
                let (key, _) = parse(object);
                self.objects.remove(&key);
                vec![key]
            }
            Event::Init => {
                self.reading = Some(HashMap::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                self.reading.get_or_insert_default().extend([parse(object)]);
                Vec::new()
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.objects, self.reading.take().unwrap_or_default());
                self.is_complete = true;
                let gone = before.into_keys().filter(|key| !self.objects.contains_key(key));
                gone.chain(self.keys()).collect()
            }
        }
    }

    /// Forgets an object that can no longer be parsed.
    pub fn remove(&mut self, key: &Key) {
        self.objects.remove(key);
    }

    pub fn get(&self, key: &Key) -> Option<&K> {
        self.objects.get(key)
    }

    pub fn keys(&self) -> Vec<Key> {
        self.objects.keys().cloned().collect()
    }

    /// Whether everything has been read once.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}
