//! Whether this replica may write.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use futures::future::poll_fn;
use hyper::rt::Executor;

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
        if let Some(end) = &mut *self.until() {
            *end = Instant::now().min(*end);
        }
    }

    pub fn is_open(&self) -> bool {
        self.until().is_some_and(|end| Instant::now() < end)
    }

    /// Whether it was open, and no longer is.
    fn has_closed(&self) -> bool {
        self.until().is_some_and(|end| end <= Instant::now())
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

    /// Goes on with `work`, such as a connection's, until the fence has closed. What was handed to it while the fence was open,
    /// and has not been sent, is never sent then.
    async fn hold(self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        poll_fn(|context| match self.has_closed() {
            true => Poll::Ready(()),
            false => work.as_mut().poll(context),
        })
        .await
    }

    fn until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the connections of a client whose writes are behind the fence.
impl<W: Future<Output = ()> + Send + 'static> Executor<W> for Fence {
    fn execute(&self, work: W) {
        tokio::spawn(self.clone().hold(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_ends_with_the_fence_and_not_before_it_was_open() {
        let fence = Fence::closed();
        assert!(
            futures::FutureExt::now_or_never(fence.clone().hold(std::future::pending())).is_none(),
            "a standby reads"
        );
        fence.open_until(Instant::now() + Duration::from_secs(60));
        assert!(futures::FutureExt::now_or_never(fence.clone().hold(std::future::pending())).is_none());
        fence.close();
        fence.clone().hold(async { panic!("went on") }).await;
    }

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
