//! How many connections of browsers there may be.

use std::{io, sync::Arc};

use axum::{Extension, middleware::AddExtension};
use axum_server::accept::Accept;
use futures::{FutureExt, future::BoxFuture};
use prometheus_client::metrics::counter::Counter;
use tokio::{net::TcpStream, sync::Semaphore};
use tower::Layer;

use super::idle::{Connection, Kept};

/// Lets in so many connections at the same time, each from before its TLS handshake until its last byte, that of a websocket too.
///
/// One too many is closed at once. Left to wait, it would show a browser nothing for who knows how long; closed, the browser says so
/// and tries again, and comes to another replica where there is one. Nor would it wait for free: by the time that this is asked, it
/// has been accepted.
#[derive(Clone)]
pub struct Bounded<A> {
    acceptor: A,
    free: Arc<Semaphore>,
    refused: Counter,
}

impl<A> Bounded<A> {
    pub fn new(acceptor: A, most: u32, refused: Counter) -> Self {
        Self { acceptor, free: Arc::new(Semaphore::new(most as usize)), refused }
    }
}

impl<A, S> Accept<TcpStream, S> for Bounded<A>
where
    A: Accept<TcpStream, AddExtension<S, Connection>>,
    A::Future: Send + 'static,
{
    type Stream = Kept<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            self.refused.inc();
            return async { Err(io::Error::other("there are too many connections")) }.boxed();
        };
        let connection = Connection::default();
        let accepted = self.acceptor.accept(stream, Extension(connection.clone()).layer(service));
        async move {
            let (stream, service) = accepted.await?;
            Ok((Kept::new(stream, connection, permit), service))
        }
        .boxed()
    }
}
