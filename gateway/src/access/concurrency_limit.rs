//! How many requests and connections may be open to each desktop, and to the portal for each person. One more is
//! refused, so that one user can't take the gateway from the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The requests and websockets to one session, or the open session lists of one person. A page opens a handful of
/// connections.
const MAX: usize = 128;

/// Permits in use, by session uid or by e-mail address, which can't be a uid.
#[derive(Clone, Debug, Default)]
pub struct ConcurrencyLimit(Arc<Mutex<HashMap<String, usize>>>);

/// One open request, websocket or session list. It counts until it is dropped.
#[derive(Debug)]
pub struct Permit {
    all: ConcurrencyLimit,
    key: String,
}

impl ConcurrencyLimit {
    /// A permit for this session or person. `None` if too many are in use.
    pub fn acquire(&self, key: &str) -> Option<Permit> {
        let mut all = self.lock();
        let count = all.entry(key.to_owned()).or_default();
        (*count < MAX).then(|| {
            *count += 1;
            Permit { all: self.clone(), key: key.to_owned() }
        })
    }

    /// Whether no permit is in use.
    pub fn is_idle(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(count) = all.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_at_its_limit_leaves_room_for_the_others() {
        let limit = ConcurrencyLimit::default();
        let mut ours: Vec<_> = (0..MAX).map(|_| limit.acquire("a").unwrap()).collect();
        assert!(limit.acquire("a").is_none());
        assert!(limit.acquire("b").is_some());
        ours.pop();
        assert!(limit.acquire("a").is_some());
        drop(ours);
        assert!(limit.is_idle(), "nothing is kept for those who left");
    }
}
