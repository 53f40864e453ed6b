//! The sessions that have to be looked at.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::{
    Stream,
    channel::mpsc::{UnboundedSender, unbounded},
};
use kube::runtime::reflector::ObjectRef;
use vdi_api::VDISession;

type Key = ObjectRef<VDISession>;

/// Filled by the watches, worked on by the leader. A standby keeps none: what it missed is in its stores.
#[derive(Debug, Default)]
pub struct Queue(Mutex<Option<Open>>);

#[derive(Debug)]
struct Open {
    sender: UnboundedSender<Key>,
    /// Those whose pass hasn't begun. Each is sent once: the pass will see all that has happened until it begins.
    waiting: HashSet<Key>,
}

impl Queue {
    /// What is added from now on.
    pub fn open(&self) -> impl Stream<Item = Key> + Send + use<> {
        let (sender, receiver) = unbounded();
        *self.lock() = Some(Open { sender, waiting: HashSet::new() });
        receiver
    }

    pub fn add(&self, sessions: impl IntoIterator<Item = Key>) {
        let mut lock = self.lock();
        let Some(Open { sender, waiting }) = &mut *lock else { return };
        for session in sessions {
            if waiting.insert(session.clone()) {
                // Fails only when nobody works on it any more.
                let _ = sender.unbounded_send(session);
            }
        }
    }

    /// A session's pass begins, and reads the stores from here on; or there is no such session any more.
    pub fn taken(&self, session: &Key) {
        if let Some(Open { waiting, .. }) = &mut *self.lock() {
            waiting.remove(session);
        }
    }

    pub fn depth(&self) -> usize {
        self.lock().as_ref().map_or(0, |open| open.waiting.len())
    }

    /// Whether whoever worked on it has gone.
    pub fn is_abandoned(&self) -> bool {
        self.lock().as_ref().is_some_and(|open| open.sender.is_closed())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn a_session_is_queued_once_until_its_pass_begins_and_again_after() {
        let (queue, a) = (Queue::default(), Key::new("a").within("team"));
        queue.add([a.clone()]);
        assert_eq!(queue.depth(), 0, "a standby keeps none");
        let mut keys = queue.open();
        for _ in 0..2 {
            queue.add([a.clone(), a.clone()]);
            assert_eq!(queue.depth(), 1);
            assert_eq!(keys.next().now_or_never(), Some(Some(a.clone())));
            assert!(keys.next().now_or_never().is_none());
            queue.taken(&a);
            assert_eq!(queue.depth(), 0);
        }
        assert!(!queue.is_abandoned());
        drop(keys);
        assert!(queue.is_abandoned());
    }
}
