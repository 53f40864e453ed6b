//! Networks that change while they are in use.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
        mpsc::{RecvTimeoutError::Timeout, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};
use fastrand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A TCP proxy on a port of this machine. When it cuts, all connections break at once and new ones can be made, as after a
/// network change. Dropping it closes the port.
pub struct TcpProxy {
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    server: SocketAddr,
    /// Bytes that came from the server.
    passed: AtomicU64,
    /// Bytes that may still come before the next cut.
    left: AtomicI64,
    /// The number of cuts.
    cuts: watch::Sender<usize>,
}

impl TcpProxy {
    pub async fn start(port: u16, server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let cuts = watch::Sender::new(0);
        let state = Arc::new(State { server, passed: AtomicU64::new(0), left: AtomicI64::new(i64::MAX), cuts });
        Ok(Self { task: tokio::spawn(accept(listener, state.clone())), state })
    }

    /// Cuts all connections once the server has sent this many more bytes.
    pub fn cut_after(&self, bytes: u64) {
        self.state.left.store(i64::try_from(bytes).unwrap_or(i64::MAX), Relaxed);
    }

    /// The number of bytes that came from the server.
    pub fn passed(&self) -> u64 {
        self.state.passed.load(Relaxed)
    }

    /// The number of cuts so far.
    pub fn cuts(&self) -> usize {
        *self.state.cuts.borrow()
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let state = state.clone();
        tokio::spawn(async move {
            let mut cuts = state.cuts.subscribe();
            // A cut drops both connections.
            tokio::select! {
                _ = cuts.changed() => {}
                _ = state.forward(client) => {}
            }
        });
    }
}

impl State {
    async fn forward(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut server = TcpStream::connect(self.server).await?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let down = async {
            let mut bytes = vec![0; 16 * 1024];
            loop {
                let count = from_server.read(&mut bytes).await?;
                if count == 0 {
                    return to_client.shutdown().await;
                }
                self.passed.fetch_add(count as u64, Relaxed);
                let left = self.left.fetch_sub(count as i64, Relaxed);
                if left < count as i64 {
                    to_client.write_all(&bytes[..usize::try_from(left).unwrap_or(0)]).await?;
                    self.left.store(i64::MAX, Relaxed);
                    self.cuts.send_modify(|cuts| *cuts += 1);
                    return std::future::pending().await;
                }
                to_client.write_all(&bytes[..count]).await?;
            }
        };
        tokio::try_join!(down, async {
            tokio::io::copy(&mut from_client, &mut to_server).await?;
            to_server.shutdown().await
        })?;
        Ok(())
    }
}

/// Pairs of virtual network interfaces that come and go at random, with an address that nothing connects to. Chromium drops all
/// connections each time. Dropping this removes them. Needs Linux and root.
pub struct Interfaces {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<usize>>,
}

impl Interfaces {
    /// The number of changes. Even the worst network calms down after a while.
    const MOST: usize = 16;

    /// The times of the changes depend on the seed and on the speed of the machine.
    pub fn come_and_go(seed: u64) -> Result<Self> {
        let mut pair = Some(Pair::add().context("adding a network interface")?);
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let (mut random, mut changes) = (Rng::with_seed(seed), 1);
            while changes < Self::MOST
                && stopped.recv_timeout(Duration::from_millis(random.u64(5..400))) == Err(Timeout)
            {
                pair = match pair.take() {
                    Some(_) => None,
                    None => Pair::add().ok(),
                };
                changes += 1;
            }
            changes
        });
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Removes them. Returns how often one came or went.
    pub fn stop(mut self) -> usize {
        self.end()
    }

    fn end(&mut self) -> usize {
        drop(self.stop.take());
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Interfaces {
    fn drop(&mut self) {
        self.end();
    }
}

/// The two ends of a virtual cable. Dropping this removes them.
struct Pair(String);

impl Pair {
    /// Adds a pair and brings it up, with an address from a documentation range (RFC 5737).
    fn add() -> Result<Self> {
        // A name has at most 15 characters. The process ID keeps it unique.
        let pair = Self(format!("vditest{}", std::process::id()));
        let (one, other) = (&pair.0, format!("{}p", pair.0));
        ip(&["link", "add", one, "type", "veth", "peer", "name", &other])?;
        ip(&["link", "set", &other, "up"])?;
        ip(&["link", "set", one, "up"])?;
        ip(&["address", "add", "203.0.113.77/32", "dev", one])?;
        Ok(pair)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // This removes the other end as well.
        let _ = ip(&["link", "delete", &self.0]);
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "`ip {}` failed: {status}", arguments.join(" "));
    Ok(())
}
