//! How much is asked of each desktop at the same time. Who asks for more is told to wait, so that one of them doesn't take the
//! gateway from the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A page opens a handful of connections. So many requests and websockets may be open to one session.
const MOST: usize = 128;

#[derive(Clone, Debug, Default)]
pub struct Visitors(Arc<Mutex<HashMap<String, usize>>>);

/// One request or websocket. It counts until it is dropped.
#[derive(Debug)]
pub struct Visitor {
    all: Visitors,
    session_uid: String,
}

impl Visitors {
    /// `None` when there are too many already.
    pub fn arrive(&self, session_uid: &str) -> Option<Visitor> {
        let mut all = self.lock();
        let count = all.entry(session_uid.to_owned()).or_default();
        (*count < MOST).then(|| {
            *count += 1;
            Visitor { all: self.clone(), session_uid: session_uid.to_owned() }
        })
    }

    /// Whether nobody is there any more.
    pub fn are_gone(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(count) = all.get_mut(&self.session_uid) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.session_uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_can_have_so_many_and_leaves_room_for_the_others() {
        let visitors = Visitors::default();
        let mut ours: Vec<_> = (0..MOST).map(|_| visitors.arrive("a").unwrap()).collect();
        assert!(visitors.arrive("a").is_none());
        assert!(visitors.arrive("b").is_some());
        ours.pop();
        assert!(visitors.arrive("a").is_some());
        drop(ours);
        assert!(visitors.are_gone(), "nothing is kept of who has left");
    }
}
