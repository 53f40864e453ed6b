use anyhow::{Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, or what a terminal or a supervisor sends when it goes.
pub struct Stop([Signal; 3]);

impl Stop {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    pub async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Does the work, unless somebody asks for its end first: what it has started goes with it.
pub async fn unless_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut stop = Stop::new()?;
    tokio::select! {
        result = work => result,
        () = stop.asked() => bail!("interrupted; everything that was started is gone again"),
    }
}
