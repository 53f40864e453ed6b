//! How long a connection is kept at which nothing is asked.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, Interval, interval_at},
};

/// A connection at which nothing has been asked for so long, and nothing is open, is closed. Whoever comes back makes another one
/// without noticing. (This is about HTTP/2: with HTTP/1.1, the next request has to be there sooner.)
const IDLE: Duration = Duration::from_secs(120);
/// So often it is looked.
const LOOK: Duration = Duration::from_secs(30);

/// What is going on at a connection. Each of its requests has this among its extensions.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Mutex<Use>>);

#[derive(Debug)]
struct Use {
    /// Requests whose answers have not ended.
    open: usize,
    /// When that changed last.
    since: Instant,
    /// Whether it is for requests still.
    is_http: bool,
}

/// A request, until this is dropped.
#[derive(Debug)]
pub struct Open(Connection);

impl Default for Connection {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Use { open: 0, since: Instant::now(), is_http: true })))
    }
}

impl Connection {
    pub fn open(&self) -> Open {
        self.change(|open| open + 1);
        Open(self.clone())
    }

    /// It is no longer for requests: what it has become ends by itself.
    pub fn changes_protocol(&self) {
        self.lock().is_http = false;
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut now = self.lock();
        *now = Use { open: change(now.open), since: Instant::now(), ..*now };
    }

    fn is_http(&self) -> bool {
        self.lock().is_http
    }

    fn is_idle(&self) -> bool {
        let now = self.lock();
        now.open == 0 && now.since.elapsed() >= IDLE
    }

    fn lock(&self) -> MutexGuard<'_, Use> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.change(|open| open - 1);
    }
}

/// The body of an answer, with which its request stays open.
pub struct Sent {
    body: Body,
    _open: Open,
}

impl Sent {
    pub fn new(body: Body, open: Open) -> Self {
        Self { body, _open: open }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The bytes of a connection, which end once it has been idle for too long, as if the browser had hung up.
#[derive(Debug)]
pub struct Kept<S> {
    stream: S,
    connection: Connection,
    /// `None` for what is no HTTP any more: looking was measured to cost each message of a websocket some 20 µs.
    look: Option<Interval>,
    /// Counts as long as the connection is there.
    _permit: OwnedSemaphorePermit,
}

impl<S> Kept<S> {
    pub fn new(stream: S, connection: Connection, permit: OwnedSemaphorePermit) -> Self {
        Self { stream, connection, look: Some(interval_at(Instant::now() + LOOK, LOOK)), _permit: permit }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Kept<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        // What has come is a request more often than not, so it goes first.
        if read.is_ready() {
            return read;
        }
        if !self.connection.is_http() {
            self.look = None;
        }
        while let Some(look) = &mut self.look
            && look.poll_tick(context).is_ready()
        {
            if self.connection.is_idle() {
                return Poll::Ready(Ok(()));
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Kept<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        bytes: &[IoSlice],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::{Request, Response, body::Incoming, service::service_fn};
    use hyper_util::{
        rt::{TokioExecutor, TokioIo},
        server::conn::auto::Builder,
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        sync::Semaphore,
        time::timeout,
    };

    use super::*;

    fn kept(connection: &Connection) -> (Kept<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(1024);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        (Kept::new(ours, connection.clone(), permit), theirs)
    }

    async fn ends_after(stream: &mut Kept<DuplexStream>, from: Instant) -> Duration {
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        from.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_closed_once_nothing_has_been_open_for_a_while_and_not_before() {
        let connection = Connection::default();
        let (mut stream, mut theirs) = kept(&connection);
        let request = connection.open();
        assert!(timeout(IDLE * 10, stream.read(&mut [0; 8])).await.is_err(), "an answer is still being sent");
        let (from, _) = (Instant::now(), drop(request));
        // What a browser sends to keep it open, pings for one, is no request.
        theirs.write_all(b"ping").await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 4);
        let after = ends_after(&mut stream, from).await;
        assert!((IDLE..=IDLE + LOOK).contains(&after), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_websocket_at_which_nothing_happens_stays_open() {
        let connection = Connection::default();
        let (mut stream, _theirs) = kept(&connection);
        let request = connection.open();
        connection.changes_protocol();
        drop(request);
        assert!(timeout(IDLE * 10, stream.read(&mut [0; 8])).await.is_err());
    }

    /// The beginning of a connection, without settings, and a request for `/`.
    const HTTP_2: &[u8] =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x87\x84\x41\x01a";

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_at_which_nothing_is_asked_is_closed() {
        let (stream, mut theirs) = kept(&Connection::default());
        let answer = async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Body::empty()));
        let serve = async move {
            Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service_fn(answer)).await
        };
        let serving = tokio::spawn(serve);
        let from = Instant::now();
        theirs.write_all(HTTP_2).await.unwrap();
        let mut answered = Vec::new();
        theirs.read_to_end(&mut answered).await.unwrap();
        assert!(from.elapsed() >= IDLE, "{:?}", from.elapsed());
        // 200, by itself in HPACK's table.
        assert!(answered.contains(&0x88), "{answered:x?}");
        serving.await.unwrap().unwrap();
    }
}
