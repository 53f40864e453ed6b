//! When somebody last did something at a desktop. What counts is what they do, and not that a page is open.

mod listener;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

pub use listener::Listener;

/// When each session, by uid, had its last input through this gateway.
#[derive(Debug, Default)]
pub struct Activity {
    last_input: Mutex<HashMap<String, Instant>>,
    /// True once nothing more is to come through this gateway.
    over: watch::Sender<bool>,
}

impl Activity {
    pub fn input(&self, session_uid: &str, now: Instant) {
        let mut last_input = self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
        match last_input.get_mut(session_uid) {
            Some(last) => *last = now,
            None => drop(last_input.insert(session_uid.to_owned(), now)),
        }
    }

    /// For how long nobody has done anything at a session's desktop through this gateway; `None` where nobody ever has.
    pub fn idle(&self, session_uid: &str, now: Instant) -> Option<Duration> {
        let last_input = self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
        last_input.get(session_uid).map(|last| now.duration_since(*last))
    }

    /// The session is gone.
    pub fn forget(&self, session_uid: &str) {
        self.last_input.lock().unwrap_or_else(PoisonError::into_inner).remove(session_uid);
    }

    /// How long ago each session had its last input.
    pub fn as_of(&self, now: Instant) -> HashMap<String, Duration> {
        let last_input = self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
        last_input.iter().map(|(uid, last)| (uid.clone(), now.duration_since(*last))).collect()
    }

    /// Nothing more is to come through this gateway: what is still open to desktops is cut.
    pub fn end(&self) {
        self.over.send_replace(true);
    }

    pub fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits until it [is over](Self::end).
    pub async fn ended(&self) {
        // It can't fail while `self` is there.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_how_long_ago_it_was() {
        let start = Instant::now();
        let activity = Activity::default();
        let after = |seconds| start + Duration::from_secs(seconds);
        activity.input("a", after(10));
        activity.input("a", after(20));
        activity.input("b", after(25));
        let forty = Duration::from_secs(40);
        assert_eq!([activity.idle("a", after(60)), activity.idle("c", after(60))], [Some(forty), None]);
        activity.forget("b");
        assert_eq!(activity.as_of(after(60)), [("a".to_owned(), forty)].into());
    }
}
