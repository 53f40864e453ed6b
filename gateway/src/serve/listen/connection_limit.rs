//! How many connections of browsers may be open.

use std::{io, sync::Arc};

use axum::{Extension, middleware::AddExtension};
use axum_server::accept::Accept;
use futures::{FutureExt, future::BoxFuture};
use prometheus_client::metrics::counter::Counter;
use tokio::{net::TcpStream, sync::Semaphore};
use tower::Layer;

use super::idle::{Connection, IdleTimeout};

/// Limits the open connections. Each counts from before its TLS handshake until its last byte, including a websocket's.
///
/// One too many is closed at once. If it waited, the browser would show nothing, perhaps for long; when it is closed,
/// the browser tries again, and may reach another replica. Waiting would cost as much, because by now the connection
/// has been accepted.
#[derive(Clone)]
pub struct ConnectionLimit<A> {
    acceptor: A,
    free: Arc<Semaphore>,
    refused: Counter,
}

impl<A> ConnectionLimit<A> {
    pub fn new(acceptor: A, max: u32, refused: Counter) -> Self {
        Self { acceptor, free: Arc::new(Semaphore::new(max as usize)), refused }
    }
}

impl<A, S> Accept<TcpStream, S> for ConnectionLimit<A>
where
    A: Accept<TcpStream, AddExtension<S, Connection>>,
    A::Future: Send + 'static,
{
    type Stream = IdleTimeout<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            self.refused.inc();
            return async { Err(io::Error::other("too many connections")) }.boxed();
        };
        let connection = Connection::default();
        let accepted = self.acceptor.accept(stream, Extension(connection.clone()).layer(service));
        async move {
            let (stream, service) = accepted.await?;
            Ok((IdleTimeout::new(stream, connection, permit), service))
        }
        .boxed()
    }
}
