use anyhow::{Result, bail};
use vdi_service::stop_signal_or_hangup;

/// Awaits `work`. If a signal asks this process to stop, drops it instead, which ends everything that it started.
pub async fn unless_stopped<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        () = stop_signal_or_hangup()? => bail!("interrupted; everything that was started has been stopped"),
    }
}
