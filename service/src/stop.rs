//! The signals that ask a process to stop.

use std::{future::poll_fn, io, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves at the first SIGTERM or SIGINT.
///
/// # Errors
/// When a signal handler can't be installed.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + Sync + 'static> {
    Ok(first_of([SignalKind::terminate(), SignalKind::interrupt()])?)
}

/// Resolves at the first SIGTERM, SIGINT or SIGHUP; a terminal sends SIGHUP when it closes.
///
/// # Errors
/// As [`stop_signal`].
pub fn stop_signal_or_hangup() -> anyhow::Result<impl Future<Output = ()> + Send + Sync + 'static> {
    Ok(first_of([SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()])?)
}

fn first_of<const N: usize>(kinds: [SignalKind; N]) -> io::Result<impl Future<Output = ()> + Send + Sync + 'static> {
    let mut signals = kinds.into_iter().map(signal).collect::<io::Result<Vec<Signal>>>()?;
    Ok(poll_fn(move |context| {
        let received = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if received { Poll::Ready(()) } else { Poll::Pending }
    }))
}
