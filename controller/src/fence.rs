//! Whether this replica may write.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use futures::future::poll_fn;

/// Shared by the clients, which refuse to write behind a closed fence, and the leader election, which opens it for as long
/// as the lease is surely this replica's.
#[derive(Clone, Debug)]
pub struct Fence(Arc<Mutex<Option<Instant>>>);

#[derive(Debug, thiserror::Error)]
#[error("not written: this replica is not the leader, or can't be sure that it still is")]
pub struct Closed;

impl Fence {
    pub fn closed() -> Self {
        Self(Arc::default())
    }

    /// For a controller that is the only one by other means, and for what is written to become the leader.
    pub fn open() -> Self {
        const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        Self(Arc::new(Mutex::new(Some(Instant::now() + FOREVER))))
    }

    pub fn open_until(&self, end: Instant) {
        *self.until() = Some(end);
    }

    pub fn close(&self) {
        *self.until() = None;
    }

    pub fn is_open(&self) -> bool {
        self.until().is_some_and(|end| Instant::now() < end)
    }

    /// Goes on with `work` only while open. Asked at every step, not only before the first: a process can be stopped
    /// between any two, for longer than its lease lasts.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Closed> {
        let mut work = pin!(work);
        poll_fn(|context| match self.is_open() {
            true => work.as_mut().poll(context).map(Ok),
            false => Poll::Ready(Err(Closed)),
        })
        .await
    }

    fn until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_was_begun_is_not_gone_on_with_once_the_fence_is_closed() {
        let fence = Fence::open();
        let closes_it = async {
            fence.close();
            tokio::task::yield_now().await;
            panic!("went on");
        };
        assert!(fence.guard(closes_it).await.is_err());
    }

    #[test]
    fn it_is_open_until_its_time_is_over() {
        let fence = Fence::closed();
        assert!(!fence.is_open());
        fence.open_until(Instant::now() + Duration::from_secs(60));
        assert!(fence.is_open());
        fence.open_until(Instant::now());
        assert!(!fence.is_open());
        assert!(Fence::open().is_open());
    }
}
