//! How many requests this gateway has open to the API server and the OpenID provider on behalf of strangers. One more
//! is refused with "try again later", so that nobody can use the gateway to flood them.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Each request takes milliseconds, or seconds if something is wrong; then more of them make it worse.
const MAX: usize = 32;

#[derive(Debug, Default)]
pub struct UpstreamLimits {
    /// For token reviews and access reviews.
    pub api_server: UpstreamLimit,
    /// For sign-ins.
    pub provider: UpstreamLimit,
}

#[derive(Debug)]
pub struct UpstreamLimit(Semaphore);

impl Default for UpstreamLimit {
    fn default() -> Self {
        Self(Semaphore::new(MAX))
    }
}

impl UpstreamLimit {
    /// A permit for one request, until it is dropped. `None` if too many are open.
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.0.try_acquire().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_upstream_takes_so_many_requests_at_once_and_more_after_an_answer() {
        let limits = UpstreamLimits::default();
        let mut permits: Vec<_> = (0..MAX).map(|_| limits.api_server.try_acquire().unwrap()).collect();
        assert!(limits.api_server.try_acquire().is_none());
        assert!(limits.provider.try_acquire().is_some());
        permits.pop();
        assert!(limits.api_server.try_acquire().is_some());
    }
}
