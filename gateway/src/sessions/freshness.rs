//! The age of the directory: how long ago each watch behind it was last heard from. Other answers of the API server say
//! nothing about the watches.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A healthy watch is heard from every few seconds; this much silence is still normal.
const SILENCE: Duration = Duration::from_secs(10);

/// The watches that decisions depend on.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    Sessions,
    Pods,
}

#[derive(Debug, Default)]
pub struct Freshness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_complete: bool,
    sessions: Option<Instant>,
    pods: Option<Instant>,
}

impl Freshness {
    /// Every object has been read once.
    pub fn complete(&self) {
        self.lock().is_complete = true;
    }

    pub fn is_complete(&self) -> bool {
        self.lock().is_complete
    }

    /// What is known from this source was up to date at this moment.
    pub fn record(&self, source: Source, at: Instant) {
        let mut state = self.lock();
        match source {
            Source::Sessions => state.sessions = Some(at),
            Source::Pods => state.pods = Some(at),
        }
    }

    /// How old the directory may be: zero while both watches are healthy.
    pub fn age(&self, now: Instant) -> Duration {
        let State { sessions, pods, .. } = *self.lock();
        let oldest = [sessions, pods].into_iter().flatten().min();
        let silence = oldest.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        if silence <= SILENCE { Duration::ZERO } else { silence }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_as_old_as_the_watch_that_has_been_silent_the_longest() {
        let freshness = Freshness::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(freshness.age(at(100)), Duration::ZERO, "nothing is known yet");
        freshness.record(Source::Sessions, at(100));
        freshness.record(Source::Pods, at(100));
        assert_eq!(freshness.age(at(110)), Duration::ZERO);
        assert_eq!(freshness.age(at(111)), Duration::from_secs(11));
        freshness.record(Source::Pods, at(120));
        assert_eq!(freshness.age(at(121)), Duration::from_secs(21), "sessions are still what they were");
        freshness.record(Source::Sessions, at(120));
        assert_eq!(freshness.age(at(121)), Duration::ZERO, "it is back");
    }
}
