//! Whether this replica may write.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use futures::future::poll_fn;
use hyper::rt::Executor;

/// Shared by the clients, which don't write while it is closed, and the leader election, which opens it for as long as the lease
/// surely is this replica's.
#[derive(Clone, Debug)]
pub struct WriteGate(Arc<Mutex<Option<Instant>>>);

#[derive(Debug, thiserror::Error)]
#[error("not written: this replica is not the leader, or can't be sure that it still is")]
pub struct Closed;

impl WriteGate {
    pub fn closed() -> Self {
        Self(Arc::default())
    }

    /// Always open: for the only replica, and for the writes by which a replica becomes the leader.
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

    /// Whether it was open before and no longer is.
    fn has_closed(&self) -> bool {
        self.until().is_some_and(|end| end <= Instant::now())
    }

    /// Continues `work` only while open. Checked at every step, not only before the first: a process can be stopped between any two,
    /// for longer than its lease lasts.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Closed> {
        let mut work = pin!(work);
        poll_fn(|context| match self.is_open() {
            true => work.as_mut().poll(context).map(Ok),
            false => Poll::Ready(Err(Closed)),
        })
        .await
    }

    /// Continues `work`, such as a connection's, until the gate has closed. A request that was handed over while the gate was open
    /// and hasn't been sent by then is never sent.
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

/// Runs the connections of a client that writes through the gate.
impl<W: Future<Output = ()> + Send + 'static> Executor<W> for WriteGate {
    fn execute(&self, work: W) {
        tokio::spawn(self.clone().hold(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_ends_with_the_gate_and_not_before_it_was_open() {
        let gate = WriteGate::closed();
        assert!(
            futures::FutureExt::now_or_never(gate.clone().hold(std::future::pending())).is_none(),
            "a standby reads"
        );
        gate.open_until(Instant::now() + Duration::from_secs(60));
        assert!(futures::FutureExt::now_or_never(gate.clone().hold(std::future::pending())).is_none());
        gate.close();
        gate.clone().hold(async { panic!("went on") }).await;
    }

    #[tokio::test]
    async fn work_stops_once_the_gate_is_closed() {
        let gate = WriteGate::open();
        let closes_it = async {
            gate.close();
            tokio::task::yield_now().await;
            panic!("went on");
        };
        assert!(gate.guard(closes_it).await.is_err());
    }

    #[test]
    fn it_is_open_until_its_time_is_over() {
        let gate = WriteGate::closed();
        assert!(!gate.is_open());
        gate.open_until(Instant::now() + Duration::from_secs(60));
        assert!(gate.is_open());
        gate.open_until(Instant::now());
        assert!(!gate.is_open());
        assert!(WriteGate::open().is_open());
    }
}
