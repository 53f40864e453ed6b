//! What follows a change of protocol: bytes in both directions, until one side ends or the session does.

use std::{io, sync::Arc, time::Instant};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use super::Visit;
use crate::{
    activity::{Activity, Listener},
    directory::ends,
    metrics::{Direction, Tunnels},
};

/// Of each direction: more makes large frames hardly faster, and an idle connection dearer.
const BUFFER: usize = 8 * 1024;

pub async fn run(browser: OnUpgrade, desktop: OnUpgrade, visit: Visit, activity: Arc<Activity>, tunnels: Tunnels) {
    let Visit { session, changes, visitor: _visitor } = visit;
    let bytes = |from| tunnels.bytes.get_or_create(&Direction { from }).clone();
    let (browser_bytes, desktop_bytes) = (bytes("browser"), bytes("desktop"));
    tunnels.open.inc();
    let both = async {
        let (browser, desktop) = tokio::try_join!(browser, desktop)?;
        let (from_browser, to_browser) = split(TokioIo::new(browser));
        let (from_desktop, to_desktop) = split(TokioIo::new(desktop));
        let mut listener = Listener::default();
        let listen = |bytes: &[u8]| {
            browser_bytes.inc_by(bytes.len() as u64);
            if listener.hears_input(bytes) {
                activity.input(&session.uid, Instant::now());
            }
        };
        let count = |bytes: &[u8]| {
            desktop_bytes.inc_by(bytes.len() as u64);
        };
        tokio::try_join!(copy(from_browser, to_desktop, listen), copy(from_desktop, to_browser, count))?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    tokio::select! {
        // Either side may go without a word at any time.
        result = both => if let Err(error) = result {
            tracing::debug!(error, "a connection has broken");
        },
        () = ends(session.clone(), changes) => {}
    }
    tunnels.open.dec();
}

/// Until the end of what is read, which is handed on.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut listen: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        listen(&buffer[..count]);
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}
