//! Where browsers are listened to, and how long they may take.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{ConnectInfo, State},
    response::Response,
};
use axum_server::{
    Handle,
    accept::NoDelayAcceptor,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use http::{Request, StatusCode};
use hyper_util::rt::TokioTimer;
use tokio::time::{Instant, sleep};

use super::{
    Gateway,
    idle::{Connection, Sent},
    limit::Bounded,
};

/// For TLS to be agreed on, and then for the first request to be there, as for the head of each that follows.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of one request's head. A browser's has about a kilobyte, and its cookies.
const LARGEST_HEAD: usize = 64 * 1024;
/// An HTTP/2 connection whose other side doesn't answer for so long is given up.
const ALIVE: Duration = Duration::from_secs(20);
/// So much may be asked on one HTTP/2 connection at the same time.
const STREAMS: u32 = 128;

/// Answers on this listener until told to stop; then finishes what has begun, within `drain`. At most `most` connections are open
/// at the same time.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    certificate: Option<RustlsConfig>,
    most: u32,
    drain: Duration,
) -> std::io::Result<()> {
    let (handle, visitors, mut stopping) = (Handle::new(), gateway.visitors.clone(), gateway.stopping.clone());
    let refused = gateway.metrics.connections_refused.clone();
    let service =
        Router::new().fallback(answer).with_state(gateway).into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone()).first_request_timeout(PATIENCE);
    let builder = server.http_builder();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(LARGEST_HEAD);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).max_header_list_size(LARGEST_HEAD as u32);
    http2.max_concurrent_streams(STREAMS).keep_alive_interval(ALIVE).keep_alive_timeout(ALIVE);

    let drained = async {
        // An error means that whoever could say so is gone.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        let deadline = Instant::now() + drain;
        handle.graceful_shutdown(Some(drain));
        while !visitors.are_gone() && Instant::now() < deadline {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let served = async {
        match certificate {
            Some(certificate) => {
                let acceptor = RustlsAcceptor::new(certificate).handshake_timeout(PATIENCE).acceptor(NoDelayAcceptor);
                server.acceptor(Bounded::new(acceptor, most, refused)).serve(service).await
            }
            None => server.acceptor(Bounded::new(NoDelayAcceptor, most, refused)).serve(service).await,
        }
    };
    let (served, ()) = tokio::join!(served, drained);
    served
}

async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(connection): Extension<Connection>,
    request: Request<Body>,
) -> Response {
    let open = connection.open();
    let answer = gateway.answer(peer.ip().to_canonical(), request).await;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        connection.changes_protocol();
        return answer;
    }
    answer.map(|body| Body::new(Sent::new(body, open)))
}
