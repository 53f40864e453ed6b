//! Progress messages for the person who waits, on standard error.

use std::future::Future;
use std::io::Write;
use std::time::{Duration, Instant};

/// Awaits work that takes minutes: like [`step`], but its messages are visible even in tests that capture output.
pub async fn long_step<T, E>(title: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    // Standard error may be closed.
    let _ = writeln!(std::io::stderr(), "{title} ...");
    let (value, elapsed) = timed(work).await?;
    let _ = writeln!(std::io::stderr(), "{title}: done in {:.1} s", elapsed.as_secs_f64());
    Ok(value)
}

/// Awaits `work`. Prints a line when it starts, and another with the time it took if that was noticeable.
pub async fn step<T, E>(title: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    eprintln!("{title} ...");
    let (value, elapsed) = timed(work).await?;
    if elapsed > Duration::from_secs(1) {
        eprintln!("{title}: done in {:.1} s", elapsed.as_secs_f64());
    }
    Ok(value)
}

async fn timed<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<(T, Duration), E> {
    let start = Instant::now();
    Ok((work.await?, start.elapsed()))
}
