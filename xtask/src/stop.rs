use anyhow::{Result, bail};
use vdi_service::stop_signal_or_hangup;

/// Awaits `work`. When a signal asks the process to stop, drops it instead, with everything that it has started.
pub async fn unless_stopped<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        () = stop_signal_or_hangup()? => bail!("interrupted; everything that was started is gone again"),
    }
}
