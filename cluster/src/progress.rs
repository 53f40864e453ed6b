//! Tells a waiting person what is going on, on standard error.

use std::future::Future;
use std::io::Write;
use std::time::{Duration, Instant};

/// Awaits what takes minutes: like [`step`], but a test that captures output doesn't hide this from the person who
/// waits.
pub async fn long_step<T, E>(title: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    // Nothing is lost when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{title} ...");
    let (value, elapsed) = timed(work).await?;
    let _ = writeln!(std::io::stderr(), "{title}: done in {:.1} s", elapsed.as_secs_f64());
    Ok(value)
}

/// Awaits `work`, with a line when it starts, and one with the time it took when that was long enough to notice.
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
