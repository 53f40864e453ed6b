//! What follows a protocol switch: bytes in both directions, until one side or the session ends.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, split};

use super::visit::Visit;
use crate::{
    activity::{Activity, InputDetector},
    metrics::{Direction, Tunnels},
    sessions::revoked,
};

/// Read at most this much at a time.
const CHUNK: usize = 32 * 1024;

pub async fn run(browser: OnUpgrade, desktop: OnUpgrade, visit: Visit, activity: Arc<Activity>, tunnels: Tunnels) {
    let Visit { session, changes, permit: _permit } = visit;
    let bytes = |from| tunnels.bytes.get_or_create(&Direction { from }).clone();
    let (browser_bytes, desktop_bytes) = (bytes("browser"), bytes("desktop"));
    tunnels.open.inc();
    let both = async {
        let (browser, desktop) = tokio::try_join!(browser, desktop)?;
        let (from_browser, to_browser) = split(TokioIo::new(browser));
        let (from_desktop, to_desktop) = split(TokioIo::new(desktop));
        let mut detector = InputDetector::of(session.activity);
        let listen = |bytes: &[u8]| {
            browser_bytes.inc_by(bytes.len() as u64);
            if detector.detect(bytes) {
                activity.record_input(&session.uid, Instant::now());
            }
        };
        let count = |bytes: &[u8]| {
            desktop_bytes.inc_by(bytes.len() as u64);
        };
        tokio::try_join!(copy(from_browser, to_desktop, listen), copy(from_desktop, to_browser, count))?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    tokio::select! {
        // Either side may disconnect at any time.
        result = both => if let Err(error) = result {
            tracing::debug!(error, "a tunnel broke");
        },
        () = revoked(session.clone(), changes) => {}
        () = activity.closed() => {}
    }
    tunnels.open.dec();
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// Copies until the end of `from`, and then shuts `to` down. An idle tunnel holds no buffer: each thread has one for
/// all of them, and only bytes that can't be written at once are kept.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut listen: impl FnMut(&[u8]),
) -> io::Result<()> {
    loop {
        let pass = |context: &mut Context| {
            BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut from).poll_read(context, &mut buffer))?;
                let bytes = buffer.filled();
                if bytes.is_empty() {
                    return Poll::Ready(io::Result::Ok(None));
                }
                listen(bytes);
                let written = match Pin::new(&mut to).poll_write(context, bytes) {
                    Poll::Ready(written) => written?,
                    Poll::Pending => 0,
                };
                Poll::Ready(Ok(Some(bytes[written..].to_vec())))
            })
        };
        match poll_fn(pass).await? {
            None => return to.shutdown().await,
            Some(rest) => to.write_all(&rest).await?,
        }
        to.flush().await?;
    }
}
