//! How long ago the API server last told what there is.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A broken watch is begun again and again, so it says that it is broken at least this often; silence means that it works.
const AT_LEAST_EVERY: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub struct Freshness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_complete: bool,
    broken: Option<Broken>,
}

#[derive(Clone, Copy, Debug)]
struct Broken {
    since: Instant,
    last_heard: Instant,
}

impl Freshness {
    /// Everything that there is has been read.
    pub fn complete(&self) {
        self.lock().is_complete = true;
    }

    pub fn is_complete(&self) -> bool {
        self.lock().is_complete
    }

    /// A watch has failed, or failed to begin again.
    pub fn failed(&self, now: Instant) {
        let mut state = self.lock();
        let since = state.broken.filter(|broken| broken.lasts(now)).map_or(now, |broken| broken.since);
        state.broken = Some(Broken { since, last_heard: now });
    }

    /// For how long what is known may have been wrong: zero while all is well.
    pub fn age(&self, now: Instant) -> Duration {
        let broken = self.lock().broken.filter(|broken| broken.lasts(now));
        broken.map_or(Duration::ZERO, |broken| now.duration_since(broken.since))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broken {
    fn lasts(&self, now: Instant) -> bool {
        now.duration_since(self.last_heard) < AT_LEAST_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_ages_from_the_first_failure_until_there_is_no_other() {
        let freshness = Freshness::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(freshness.age(at(100)), Duration::ZERO);
        for seconds in [100, 101, 105, 112] {
            freshness.failed(at(seconds));
        }
        assert_eq!(freshness.age(at(126)), Duration::from_secs(26));
        assert_eq!(freshness.age(at(127)), Duration::ZERO, "it works again");
        freshness.failed(at(200));
        assert_eq!(freshness.age(at(201)), Duration::from_secs(1), "that is another failure");
    }
}
