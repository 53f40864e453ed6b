//! What follows a change of protocol: bytes in both directions, until one side ends or the session does.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::Visit;
use crate::directory::ends;

pub async fn run(browser: OnUpgrade, desktop: OnUpgrade, visit: Visit) {
    let tunnel = async {
        let (browser, desktop) = tokio::try_join!(browser, desktop)?;
        copy_bidirectional(&mut TokioIo::new(browser), &mut TokioIo::new(desktop)).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    tokio::select! {
        // Either side may go without a word at any time.
        result = tunnel => if let Err(error) = result {
            tracing::debug!(error, "a connection has broken");
        },
        () = ends(visit.session, visit.changes) => {}
    }
}
