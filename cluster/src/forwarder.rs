//! TCP connections to an address of this machine, passed on to another.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::error::{Error, IoContext};

/// Passes connections on until it is dropped, which ends all of them.
#[derive(Debug)]
pub(crate) struct Forwarder(AbortHandle);

impl Forwarder {
    /// Listens at `address`. Each new connection goes to what is the target then; without a target it ends at once.
    pub async fn start(address: SocketAddr, target: watch::Receiver<Option<SocketAddr>>) -> Result<Self, Error> {
        let listener = TcpListener::bind(address).await.context("listening at", Path::new(&address.to_string()))?;
        Ok(Self(tokio::spawn(serve(listener, target)).abort_handle()))
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(listener: TcpListener, target: watch::Receiver<Option<SocketAddr>>) {
    // They end with this set.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let target = *target.borrow();
                match (accepted, target) {
                    (Ok((client, _)), Some(target)) => drop(connections.spawn(pass_on(client, target))),
                    (Ok(_), None) => {}
                    // Too many open files, for example: connections that end make room.
                    (Err(_), _) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Either side sees the other's end, and the reason is of no use to anyone.
async fn pass_on(mut client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}
