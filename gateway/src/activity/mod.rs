//! When each desktop was last used. Only input counts, not an open page.

mod input;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

pub use input::InputDetector;

/// The last input of each session through this gateway, by session uid.
#[derive(Debug, Default)]
pub struct Activity {
    last_input: Mutex<HashMap<String, Instant>>,
    /// True once no more input can come through this gateway.
    closed: watch::Sender<bool>,
}

impl Activity {
    pub fn record_input(&self, session_uid: &str, now: Instant) {
        let mut last_input = self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
        match last_input.get_mut(session_uid) {
            Some(last) => *last = now,
            None => drop(last_input.insert(session_uid.to_owned(), now)),
        }
    }

    /// How long ago a session had its last input through this gateway; `None` if it never had any.
    pub fn idle(&self, session_uid: &str, now: Instant) -> Option<Duration> {
        let last_input = self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
        last_input.get(session_uid).map(|last| now.duration_since(*last))
    }

    /// Removes a session that is gone.
    pub fn forget(&self, session_uid: &str) {
        self.last_input.lock().unwrap_or_else(PoisonError::into_inner).remove(session_uid);
    }

    /// How long ago each session had its last input.
    pub fn since_last_input(&self, now: Instant) -> HashMap<String, Duration> {
        let last_input = self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
        last_input.iter().map(|(uid, last)| (uid.clone(), now.duration_since(*last))).collect()
    }

    /// Cuts all tunnels to desktops, so that no more input can come through this gateway.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits for [`close`](Self::close).
    pub async fn closed(&self) {
        // It can't fail while `self` exists.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_reported_by_its_age() {
        let start = Instant::now();
        let activity = Activity::default();
        let after = |seconds| start + Duration::from_secs(seconds);
        activity.record_input("a", after(10));
        activity.record_input("a", after(20));
        activity.record_input("b", after(25));
        let forty = Duration::from_secs(40);
        assert_eq!([activity.idle("a", after(60)), activity.idle("c", after(60))], [Some(forty), None]);
        activity.forget("b");
        assert_eq!(activity.since_last_input(after(60)), [("a".to_owned(), forty)].into());
    }
}
