//! Waiting for a condition, never without a deadline.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep, timeout};

/// How long a test waits for something that takes a second or two.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Polls until there is a value. An error of `poll` ends it, and so does the deadline; that error names `what`.
pub async fn for_value<T>(what: &str, mut poll: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = poll().await? {
            return Ok(value);
        }
        if start.elapsed() > PATIENCE {
            bail!("not within {} s: {what}", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Polls until a condition holds, like [`for_value`].
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    for_value(what, async || Ok(holds().await?.then_some(()))).await
}

/// Awaits something that may never come. The error at the deadline names `what`.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    timeout(PATIENCE, work).await.with_context(|| format!("not within {} s: {what}", PATIENCE.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_is_polled_until_it_holds_and_an_error_ends_that() {
        let mut polls = 0;
        let mut poll = async || {
            polls += 1;
            Ok(polls == 3)
        };
        until("three polls", &mut poll).await.unwrap();
        assert_eq!(polls, 3);
        let error = until("nothing", async || bail!("broken")).await.unwrap_err();
        assert_eq!(error.to_string(), "broken");
    }
}
