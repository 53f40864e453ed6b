//! The sessions that need a pass.

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

/// Filled by the watches, emptied by the leader. A standby's is closed and keeps nothing: its stores have what it missed.
#[derive(Debug, Default)]
pub struct Workqueue(Mutex<Option<Open>>);

#[derive(Debug)]
struct Open {
    sender: UnboundedSender<Key>,
    /// Sent, and their pass hasn't begun. Each is sent once: its pass sees everything that happened before it began.
    waiting: HashSet<Key>,
}

impl Workqueue {
    /// Opens the queue, and returns what is added from now on.
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
                // Fails only once the receiver is gone.
                let _ = sender.unbounded_send(session);
            }
        }
    }

    /// To be called before the session's pass reads the stores, and when the session is gone.
    pub fn begin(&self, session: &Key) {
        if let Some(Open { waiting, .. }) = &mut *self.lock() {
            waiting.remove(session);
        }
    }

    pub fn depth(&self) -> usize {
        self.lock().as_ref().map_or(0, |open| open.waiting.len())
    }

    /// Whether the receiver is gone.
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
        let (queue, a) = (Workqueue::default(), Key::new("a").within("team"));
        queue.add([a.clone()]);
        assert_eq!(queue.depth(), 0, "a standby keeps none");
        let mut keys = queue.open();
        for _ in 0..2 {
            queue.add([a.clone(), a.clone()]);
            assert_eq!(queue.depth(), 1);
            assert_eq!(keys.next().now_or_never(), Some(Some(a.clone())));
            assert!(keys.next().now_or_never().is_none());
            queue.begin(&a);
            assert_eq!(queue.depth(), 0);
        }
        assert!(!queue.is_abandoned());
        drop(keys);
        assert!(queue.is_abandoned());
    }
}
