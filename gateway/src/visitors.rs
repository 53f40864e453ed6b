//! How much is open at the same time to each desktop, and of the portal to each person. Who asks for more is told to wait, so that
//! one of them doesn't take the gateway from the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A page opens a handful of connections. So many requests and websockets may be open to one session, and so
/// many lists of their desktops to one person.
const MOST: usize = 128;

#[derive(Clone, Debug, Default)]
pub struct Visitors(Arc<Mutex<HashMap<String, usize>>>);

/// One request, websocket or list. It counts until it is dropped.
#[derive(Debug)]
pub struct Visitor {
    all: Visitors,
    whose: String,
}

impl Visitors {
    /// To a session, by its uid, or to a person, by their address, which is no uid. `None` when there are too many already.
    pub fn arrive(&self, whose: &str) -> Option<Visitor> {
        let mut all = self.lock();
        let count = all.entry(whose.to_owned()).or_default();
        (*count < MOST).then(|| {
            *count += 1;
            Visitor { all: self.clone(), whose: whose.to_owned() }
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
        if let Some(count) = all.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.whose);
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
