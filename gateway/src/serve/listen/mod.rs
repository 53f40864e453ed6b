//! The server for browsers: TLS, time limits, connection limits, and draining.

pub mod certificate;
mod connection_limit;
mod idle;

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

use self::{
    connection_limit::ConnectionLimit,
    idle::{Connection, TrackedBody},
};
use super::{gateway::Gateway, router};

/// For the TLS handshake, for the first request after it, and for the head of each later request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The limit for the head of a request, in bytes. A browser's has about a kilobyte, and its cookies.
const LARGEST_HEAD: usize = 64 * 1024;
/// How often an HTTP/2 connection is pinged, and how long its other side may take to answer.
const ALIVE: Duration = Duration::from_secs(20);
/// Concurrent requests on one HTTP/2 connection.
const STREAMS: u32 = 128;

/// Serves browsers until the gateway has to stop; then finishes open requests, within `drain`. At most
/// `max_connections` are open at the same time.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    certificate: Option<RustlsConfig>,
    max_connections: u32,
    drain: Duration,
) -> std::io::Result<()> {
    let (handle, concurrency, mut stopping) = (Handle::new(), gateway.concurrency.clone(), gateway.stopping.clone());
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
        // An error means that the sender is gone.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        let deadline = Instant::now() + drain;
        handle.graceful_shutdown(Some(drain));
        while !concurrency.is_idle() && Instant::now() < deadline {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let served = async {
        match certificate {
            Some(certificate) => {
                let acceptor = RustlsAcceptor::new(certificate).handshake_timeout(PATIENCE).acceptor(NoDelayAcceptor);
                server.acceptor(ConnectionLimit::new(acceptor, max_connections, refused)).serve(service).await
            }
            None => {
                server.acceptor(ConnectionLimit::new(NoDelayAcceptor, max_connections, refused)).serve(service).await
            }
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
    let answer = router::answer(gateway, peer.ip().to_canonical(), request).await;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        connection.switch_protocol();
        return answer;
    }
    answer.map(|body| Body::new(TrackedBody::new(body, open)))
}
