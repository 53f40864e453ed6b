//! A running controller or gateway.

use std::{net::SocketAddr, path::PathBuf, process::ExitStatus, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use vdi_cluster::Server;

use crate::{http, wait};

/// How long something may take that takes seconds, such as the expiry of a lease, or the retry of a watch.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running controller or gateway. Dropping it stops it.
pub struct Replica {
    server: Server,
    log: PathBuf,
    /// The field in its log with the address of /readyz.
    probes: &'static str,
}

impl Replica {
    pub(crate) fn new(server: Server, log: PathBuf, probes: &'static str) -> Self {
        Self { server, log, probes }
    }

    /// The address of /healthz, /readyz and /metrics.
    pub async fn address(&mut self) -> Result<SocketAddr> {
        let line = self.logged(self.probes).await?;
        Ok(line[self.probes].as_str().context("no address")?.parse()?)
    }

    /// Its identity in the lease and in requests to the API server.
    pub async fn identity(&mut self) -> Result<String> {
        Ok(self.logged("identity").await?["identity"].as_str().context("no name")?.to_owned())
    }

    /// Its process ID.
    pub async fn process(&mut self) -> Result<u64> {
        self.logged("pid").await?["pid"].as_u64().context("no number")
    }

    /// The first line of its log that has a field.
    async fn logged(&mut self, field: &str) -> Result<Value> {
        let what = format!("a line with the field {field} in {}", self.log.display());
        wait::for_value(&what, async || {
            self.server.check()?;
            let text = tokio::fs::read_to_string(&self.log).await?;
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            Ok(lines.find(|line| !line[field].is_null()))
        })
        .await
    }

    /// Waits until it is ready, which means that its caches are complete.
    pub async fn wait_until_ready(&mut self) -> Result<()> {
        self.wait_until("ready", "/readyz", |status, _| status == 200).await
    }

    /// Waits until it says, on /readyz and in the last line of its log, that it waits for this.
    pub async fn wait_until_waiting(&mut self, reason: &str) -> Result<()> {
        let address = self.address().await?;
        let waits = async || {
            let (status, page) = http::get(address, "/readyz").await?;
            Ok(status == 503 && page.contains(reason) && self.last_message()?.contains(reason))
        };
        let waits = wait::until(&format!("it waits: {reason}"), waits).await;
        waits.with_context(|| self.log().unwrap_or_default())
    }

    /// The message in the last line of its log.
    fn last_message(&self) -> Result<String> {
        let log = self.log()?;
        let last: Value = serde_json::from_str(log.lines().last().context("the log is empty")?)?;
        Ok(last["message"].as_str().unwrap_or_default().to_owned())
    }

    /// The number of lines in its log that contain a text.
    pub fn logged_times(&self, text: &str) -> Result<usize> {
        Ok(self.log()?.lines().filter(|line| line.contains(text)).count())
    }

    /// Waits until it is the leader.
    pub async fn wait_until_leading(&mut self) -> Result<()> {
        self.wait_until("the leader", "/metrics", |_, page| page.contains("\nvdi_controller_leader 1\n")).await
    }

    async fn wait_until(&mut self, what: &str, path: &str, reached: impl Fn(u16, &str) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, page) = http::get(self.address().await?, path).await?;
            if reached(status, &page) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not {what} after {PATIENCE:?}: {}", self.log()?);
            self.check()?;
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its metrics page.
    pub async fn metrics(&mut self) -> Result<String> {
        let (status, page) = http::get(self.address().await?, "/metrics").await?;
        ensure!(status == 200, "{status}: {page}");
        Ok(page)
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its log.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// Returns an error if it has exited.
    pub fn check(&mut self) -> Result<()> {
        Ok(self.server.check()?)
    }

    /// Ends it with SIGKILL, like a crash.
    pub fn kill(self) -> Result<()> {
        Ok(self.server.kill()?)
    }

    /// Ends it with SIGTERM, like a rollout. Returns its exit status.
    pub fn stop(self) -> Result<ExitStatus> {
        Ok(self.server.stop()?)
    }
}
