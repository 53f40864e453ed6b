//! A network that changes while somebody uses it.

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

/// A port of this machine behind which there is a server, until the line is cut: then all connections break at once, and new ones
/// can be made, as after a network change. Dropping it closes the port.
pub struct Line {
    way: Arc<Way>,
    task: tokio::task::JoinHandle<()>,
}

struct Way {
    to: SocketAddr,
    /// What came from the server so far, in bytes.
    passed: AtomicU64,
    /// What may still come before the line is cut.
    left: AtomicI64,
    /// How often it was cut.
    cuts: watch::Sender<usize>,
}

impl Line {
    pub async fn start(port: u16, to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let way = Way { to, passed: AtomicU64::new(0), left: AtomicI64::new(i64::MAX), cuts: watch::Sender::new(0) };
        let way = Arc::new(way);
        Ok(Self { task: tokio::spawn(accept(listener, way.clone())), way })
    }

    /// Cuts it once the server has sent so many more bytes.
    pub fn cut_after(&self, bytes: u64) {
        self.way.left.store(i64::try_from(bytes).unwrap_or(i64::MAX), Relaxed);
    }

    /// How many bytes came from the server.
    pub fn passed(&self) -> u64 {
        self.way.passed.load(Relaxed)
    }

    /// How often it was cut.
    pub fn cuts(&self) -> usize {
        *self.way.cuts.borrow()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
        self.way.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let way = way.clone();
        tokio::spawn(async move {
            let mut cuts = way.cuts.subscribe();
            // Both connections are dropped with what is read of them.
            tokio::select! {
                _ = cuts.changed() => {}
                _ = way.connect(client) => {}
            }
        });
    }
}

impl Way {
    async fn connect(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut server = TcpStream::connect(self.to).await?;
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

/// Network interfaces of this machine that come and go at random: pairs of virtual ones, with an address that nothing is sent to.
/// Chromium drops all connections each time. Dropping it takes them away. Needs Linux and root.
pub struct Interfaces {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<usize>>,
}

impl Interfaces {
    /// Even the worst network is calm again after a while.
    const MOST: usize = 16;

    /// The moments follow from the seed, and from how fast the machine is.
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

    /// Takes them away, and says how often one came or went.
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

/// Two ends of a virtual cable. Dropping it takes them away.
struct Pair(String);

impl Pair {
    /// Makes one and brings it up, with an address of a range for documentation (RFC 5737).
    fn add() -> Result<Self> {
        // At most 15 characters, and no other process's.
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
        // The other end goes with it.
        let _ = ip(&["link", "delete", &self.0]);
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "`ip {}` failed: {status}", arguments.join(" "));
    Ok(())
}
