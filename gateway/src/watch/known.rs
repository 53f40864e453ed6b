//! The objects of one kind, as their watch tells them.

use std::collections::HashMap;

use kube::runtime::watcher::Event;
pub use vdi_service::aside::Key;

pub struct Known<K> {
    objects: HashMap<Key, K>,
    /// While everything is being read, for the first time or again: what has been read so far.
    reading: Option<HashMap<Key, K>>,
    is_complete: bool,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), reading: None, is_complete: false }
    }
}

impl<K> Known<K> {
    /// Takes an event in, with what is to be `kept` of its object. Returns what it is about.
    pub fn take<Read>(&mut self, event: Event<Read>, kept: impl FnOnce(Read) -> (Key, K)) -> Vec<Key> {
        match event {
            Event::Apply(object) => {
                let (key, object) = kept(object);
                self.objects.insert(key.clone(), object);
                vec![key]
            }
            Event::Delete(object) => {
                let (key, _) = kept(object);
                self.objects.remove(&key);
                vec![key]
            }
            Event::Init => {
                self.reading = Some(HashMap::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                self.reading.get_or_insert_default().extend([kept(object)]);
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

    /// What was known of it can't be relied on any more.
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
