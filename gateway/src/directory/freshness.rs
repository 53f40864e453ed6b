//! How long ago the API server was last heard. A watch doesn't tell: it says nothing while there is nothing to say, and nothing
//! while it is broken.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::Client;
use tokio::time::{sleep, timeout};

use super::Directory;

/// How often the API server is asked for a sign of life, and how long it may take. Until the next one, it counts as there.
const EVERY: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub struct Freshness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_complete: bool,
    last_heard: Option<Instant>,
}

impl Freshness {
    /// Everything that there is has been read.
    pub fn complete(&self) {
        self.lock().is_complete = true;
    }

    pub fn is_complete(&self) -> bool {
        self.lock().is_complete
    }

    /// The API server has answered what it was asked at this moment.
    pub fn heard(&self, asked: Instant) {
        self.lock().last_heard = Some(asked);
    }

    /// For how long what is known may have been wrong: zero while all is well.
    pub fn age(&self, now: Instant) -> Duration {
        let silence = self.lock().last_heard.map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard));
        if silence <= EVERY + PATIENCE { Duration::ZERO } else { silence }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks again and again. Never returns.
pub async fn follow(client: Client, directory: Arc<Directory>) {
    loop {
        let asked = Instant::now();
        match timeout(PATIENCE, client.apiserver_version()).await {
            Ok(Ok(_)) => directory.freshness.heard(asked),
            Ok(Err(error)) => tracing::warn!(%error, "the API server does not answer"),
            Err(_) => tracing::warn!("the API server does not answer within {PATIENCE:?}"),
        }
        sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_ages_from_the_last_sign_of_life() {
        let freshness = Freshness::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(freshness.age(at(100)), Duration::ZERO, "nothing is known yet");
        freshness.heard(at(100));
        assert_eq!(freshness.age(at(110)), Duration::ZERO);
        assert_eq!(freshness.age(at(111)), Duration::from_secs(11));
        freshness.heard(at(120));
        assert_eq!(freshness.age(at(121)), Duration::ZERO, "it is back");
    }
}
