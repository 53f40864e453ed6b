//! Closes connections that are idle for too long.

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

/// A connection that has had no open request for this long is closed. Browsers then open another one, unnoticed by
/// their users. (This matters for HTTP/2: with HTTP/1.1, the next request has to come sooner anyway.)
const IDLE: Duration = Duration::from_secs(120);
/// How often that is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// The use of a connection. Each of its requests has this among its extensions.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Mutex<Usage>>);

#[derive(Debug)]
struct Usage {
    /// The number of requests whose answers have not ended.
    open: usize,
    /// When that number last changed.
    since: Instant,
    /// Whether it is still an HTTP connection.
    is_http: bool,
}

/// A request. It counts as open until this is dropped.
#[derive(Debug)]
pub struct OpenRequest(Connection);

impl Default for Connection {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Usage { open: 0, since: Instant::now(), is_http: true })))
    }
}

impl Connection {
    pub fn open(&self) -> OpenRequest {
        self.change(|open| open + 1);
        OpenRequest(self.clone())
    }

    /// It is no longer an HTTP connection, and is never idle: a websocket ends by itself.
    pub fn switch_protocol(&self) {
        self.lock().is_http = false;
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut now = self.lock();
        *now = Usage { open: change(now.open), since: Instant::now(), ..*now };
    }

    fn is_http(&self) -> bool {
        self.lock().is_http
    }

    fn is_idle(&self) -> bool {
        let now = self.lock();
        now.open == 0 && now.since.elapsed() >= IDLE
    }

    fn lock(&self) -> MutexGuard<'_, Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.change(|open| open - 1);
    }
}

/// The body of an answer, which keeps its request open.
pub struct TrackedBody {
    body: Body,
    _open: OpenRequest,
}

impl TrackedBody {
    pub fn new(body: Body, open: OpenRequest) -> Self {
        Self { body, _open: open }
    }
}

impl HttpBody for TrackedBody {
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

/// The stream of a connection. It ends when the connection has been idle for too long, as if the browser had closed it.
#[derive(Debug)]
pub struct IdleTimeout<S> {
    stream: S,
    connection: Connection,
    /// `None` after a protocol switch: the check was measured to cost each websocket message some 20 µs.
    check: Option<Interval>,
    _permit: OwnedSemaphorePermit,
}

impl<S> IdleTimeout<S> {
    pub fn new(stream: S, connection: Connection, permit: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            connection,
            check: Some(interval_at(Instant::now() + CHECK_INTERVAL, CHECK_INTERVAL)),
            _permit: permit,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        // New bytes go first: most of them are a request.
        if read.is_ready() {
            return read;
        }
        if !self.connection.is_http() {
            self.check = None;
        }
        while let Some(check) = &mut self.check
            && check.poll_tick(context).is_ready()
        {
            if self.connection.is_idle() {
                return Poll::Ready(Ok(()));
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleTimeout<S> {
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

    fn kept(connection: &Connection) -> (IdleTimeout<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(1024);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        (IdleTimeout::new(ours, connection.clone(), permit), theirs)
    }

    async fn ends_after(stream: &mut IdleTimeout<DuplexStream>, from: Instant) -> Duration {
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        from.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_closed_once_it_has_had_no_open_request_for_a_while_and_not_before() {
        let connection = Connection::default();
        let (mut stream, mut theirs) = kept(&connection);
        let request = connection.open();
        assert!(timeout(IDLE * 10, stream.read(&mut [0; 8])).await.is_err(), "an answer is still being sent");
        let (from, _) = (Instant::now(), drop(request));
        // What a browser sends to keep the connection open, such as pings, is no request.
        theirs.write_all(b"ping").await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 4);
        let after = ends_after(&mut stream, from).await;
        assert!((IDLE..=IDLE + CHECK_INTERVAL).contains(&after), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_websocket_stays_open() {
        let connection = Connection::default();
        let (mut stream, _theirs) = kept(&connection);
        let request = connection.open();
        connection.switch_protocol();
        drop(request);
        assert!(timeout(IDLE * 10, stream.read(&mut [0; 8])).await.is_err());
    }

    /// The beginning of a connection, without settings, and a request for `/`.
    const HTTP_2: &[u8] =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x87\x84\x41\x01a";

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_without_requests_is_closed() {
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
