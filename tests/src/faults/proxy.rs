//! A proxy between controllers and the API server that injects faults.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, Request, Response, header},
};
use fastrand::Rng;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use kube::Client;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{broadcast, oneshot},
    task::JoinHandle,
};

use super::{
    storm::{Asked, Fault, Storm},
    stream::{Broken, Cut, status, until_cut},
};

/// An HTTP server on loopback that forwards all requests to the API server with its own client's credentials. Dropping it stops
/// it.
pub struct Proxy {
    pub address: SocketAddr,
    way: Arc<Way>,
    task: JoinHandle<()>,
}

/// The state of the proxy.
struct Way {
    client: Client,
    weather: Mutex<(Storm, Rng)>,
    cuts: broadcast::Sender<Cut>,
    trap: Mutex<Option<Trap>>,
    /// Added to the `Date` in responses, in seconds.
    date_shift: AtomicI64,
    /// The number of faults so far.
    faults: AtomicUsize,
    /// The last request that an idle controller doesn't make, and when.
    last: Mutex<(Instant, String)>,
}

/// Lets some writes through, then withholds the response to the next write and to everything after it.
struct Trap {
    writes_left: usize,
    sprung: Option<oneshot::Sender<String>>,
}

type Body = UnsyncBoxBody<Bytes, Broken>;

impl Proxy {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start(client: Client) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let way = Arc::new(Way {
            client,
            weather: Mutex::new((Storm::Calm, Rng::with_seed(0))),
            cuts: broadcast::channel(16).0,
            trap: Mutex::default(),
            date_shift: AtomicI64::new(0),
            faults: AtomicUsize::new(0),
            last: Mutex::new((Instant::now(), String::new())),
        });
        let task = tokio::spawn(accept(listener, way.clone()));
        Ok(Self { address, way, task })
    }

    /// Starts a storm, until the next call. The seed determines the fault for each request.
    pub fn storm(&self, storm: Storm, seed: u64) {
        *lock(&self.way.weather) = (storm, Rng::with_seed(seed));
    }

    /// Ends all open watches.
    pub fn cut_watches(&self, cut: Cut) {
        let watches = self.way.cuts.send(cut).unwrap_or_default();
        self.way.faults.fetch_add(watches, Relaxed);
    }

    /// Withholds the response to the `writes`-th write from now on and to everything after it. The receiver gets that write once
    /// the API server has executed it.
    pub fn trap(&self, writes: usize) -> oneshot::Receiver<String> {
        let (sprung, receiver) = oneshot::channel();
        *lock(&self.way.trap) = Some(Trap { writes_left: writes, sprung: Some(sprung) });
        receiver
    }

    pub fn shift_dates(&self, by: SignedDuration) {
        self.way.date_shift.store(by.as_secs(), Relaxed);
    }

    /// Ends all faults.
    pub fn calm(&self) {
        self.storm(Storm::Calm, 0);
        self.shift_dates(SignedDuration::ZERO);
        *lock(&self.way.trap) = None;
    }

    /// The number of faults so far.
    pub fn faults(&self) -> usize {
        self.way.faults.load(Relaxed)
    }

    /// How long ago the last request was that an idle controller doesn't make, and what it was.
    pub fn silence(&self) -> (Duration, String) {
        let (when, what) = &*lock(&self.way.last);
        (when.elapsed(), what.clone())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    loop {
        // A failure may be temporary, such as a lack of file descriptors.
        let Ok((connection, _)) = listener.accept().await else { continue };
        tokio::spawn(serve(connection, way.clone()));
    }
}

async fn serve(connection: TcpStream, way: Arc<Way>) {
    let service = service_fn(|request| way.pass(request));
    // Errors are intended.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

impl Way {
    /// An error closes the connection without a response.
    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        let asked = Asked::of(request.method(), request.uri());
        let what = format!("{} {}", request.method(), request.uri().path());
        if !asked.is_of_the_idle() {
            *lock(&self.last) = (Instant::now(), what.clone());
        }
        if lock(&self.trap).as_ref().is_some_and(|trap| trap.sprung.is_none()) {
            pending::<()>().await;
        }
        let fault = self.strike(asked);
        match fault {
            Fault::Answer(code) => return Ok(answer(code)),
            Fault::Refuse => return Err(Broken),
            Fault::Delay(delay) => tokio::time::sleep(delay).await,
            Fault::None | Fault::LoseAnswer => {}
        }
        let response = self.ask(request, asked).await?;
        if asked.is_write && self.springs_the_trap(what) {
            pending::<()>().await;
        }
        if fault == Fault::LoseAnswer { Err(Broken) } else { Ok(response) }
    }

    fn strike(&self, asked: Asked) -> Fault {
        let (storm, rng) = &mut *lock(&self.weather);
        let fault = storm.strike(asked, rng);
        self.faults.fetch_add(usize::from(fault != Fault::None), Relaxed);
        fault
    }

    fn springs_the_trap(&self, what: String) -> bool {
        let mut trap = lock(&self.trap);
        let Some(trap) = trap.as_mut() else { return false };
        trap.writes_left = trap.writes_left.saturating_sub(1);
        if trap.writes_left > 0 {
            return false;
        }
        self.faults.fetch_add(1, Relaxed);
        // The receiver is gone once the scenario is over.
        trap.sprung.take().is_none_or(|sprung| sprung.send(what).is_ok())
    }

    async fn ask(&self, request: Request<Incoming>, asked: Asked) -> Result<Response<Body>, Broken> {
        let (mut head, body) = request.into_parts();
        head.headers.remove(header::HOST);
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        let request = Request::from_parts(head, kube::client::Body::from(body));
        let (mut head, body) = self.client.send(request).await.map_err(|_| Broken)?.into_parts();
        head.headers.remove(header::TRANSFER_ENCODING);
        self.shift_date(&mut head.headers);
        let body = match asked.is_watch {
            true => {
                let data = until_cut(body, self.cuts.subscribe());
                StreamBody::new(futures::TryStreamExt::map_ok(data, Frame::data)).boxed_unsync()
            }
            false => whole(body.collect().await.map_err(|_| Broken)?.to_bytes()),
        };
        Ok(Response::from_parts(head, body))
    }

    fn shift_date(&self, headers: &mut HeaderMap) {
        let shift = SignedDuration::from_secs(self.date_shift.load(Relaxed));
        if shift.is_zero() {
            return;
        }
        let shifted = Timestamp::now().saturating_add(shift).ok();
        let date = shifted.and_then(|time| rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok());
        if let Some(date) = date.and_then(|date| HeaderValue::from_str(&date).ok()) {
            headers.insert(header::DATE, date);
        }
    }
}

fn answer(code: u16) -> Response<Body> {
    let mut response = Response::new(whole(status(code).to_string().into()));
    *response.status_mut() = code.try_into().unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if code == 429 {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
