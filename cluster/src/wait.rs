//! Waiting for conditions.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::guard::Server;

const INTERVAL: Duration = Duration::from_millis(50);

/// Probes a server until there is a value, until it or one of the others exits, or until the time is over. A probe without a value
/// yet returns the reason.
pub(crate) async fn until_ready<T>(
    server: &mut Server,
    others: &mut [&mut Server],
    seconds: u64,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, Error> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let reason = match probe().await {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        server.check()?;
        others.iter_mut().try_for_each(|other| other.check())?;
        if Instant::now() > deadline {
            return Err(server.not_ready(seconds, reason));
        }
        sleep(INTERVAL).await;
    }
}
