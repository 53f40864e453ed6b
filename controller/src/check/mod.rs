//! `vdi-controller check-installation`: whether what the chart installs works, from inside the cluster. `helm test` runs it.

mod definitions;
mod finding;
mod floor;
mod gateway;
mod sessions;

use std::{ffi::OsString, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Parser;
use kube::Client;
use tokio::time::{Instant, sleep};

use finding::{Finding, Line};
use gateway::Gateway;
use sessions::Sessions;

/// Checks the installation, from a pod in its namespace: the CRDs, the gateway, and whose sessions the API server accepts. Creates
/// nothing, and ends with an error if a check fails.
#[derive(Debug, Parser)]
#[command(name = "vdi-controller check-installation", version)]
pub struct Check {
    #[command(flatten)]
    gateway: Gateway,

    #[command(flatten)]
    sessions: Sessions,

    /// The ValidatingAdmissionPolicies of the floor, whose bindings have the same names. Default: it isn't installed
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    floor: Vec<String>,
}

/// How long a check may fail at first: a new installation takes a moment.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

impl Check {
    /// The first argument that asks for it.
    pub const COMMAND: &str = "check-installation";

    /// What to check, if that is what this process is asked to do. On an error, prints it and exits, as clap does.
    pub fn requested(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter().skip(1).peekable();
        let is_requested = arguments.peek().is_some_and(|first| first == Self::COMMAND);
        is_requested.then(|| Self::parse_from(arguments))
    }

    /// Checks, and prints what it finds.
    ///
    /// # Errors
    /// When something is wrong.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::try_default().await.context("no cluster to talk to: set KUBECONFIG, or run in a pod")?;
        let of_others = async || match self.floor.is_empty() {
            true => {
                Ok("whether a session for somebody else is refused isn't checked, as floor.enabled is false".to_owned())
            }
            false => self.sessions.of_others(&client).await,
        };
        let findings: [Finding; 6] = tokio::join!(
            patiently(async || definitions::check(&client).await),
            patiently(async || self.gateway.check().await),
            patiently(async || self.sessions.accepted(&client).await),
            patiently(async || self.sessions.malformed(&client).await),
            patiently(of_others),
            patiently(async || floor::check(&client, &self.floor).await),
        )
        .into();
        for finding in &findings {
            println!("{}", Line(finding));
        }
        let failed = findings.iter().filter(|finding| finding.is_err()).count();
        ensure!(failed == 0, "{failed} of {} checks failed", findings.len());
        Ok(())
    }
}

/// Repeats a check that fails, for a while.
async fn patiently(check: impl AsyncFn() -> Finding) -> Finding {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check().await {
            Err(_) if Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
            finding => return finding,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{finding::Problem, *};

    fn requested(arguments: &[&str]) -> Option<Check> {
        Check::requested(arguments.iter().map(Into::into))
    }

    #[test]
    fn the_first_argument_asks_for_the_checks_and_no_other_does() {
        assert!(requested(&["vdi-controller", "--domain=check-installation"]).is_none());
        assert!(requested(&["vdi-controller", "--domain", "check-installation"]).is_none());
        assert!(requested(&["vdi-controller"]).is_none() && requested(&[]).is_none());
        let flags = [
            "vdi-controller",
            "check-installation",
            "--domain=vdi.example.com",
            "--gateway=vdi-gateway.system.svc:443",
            "--gateways=vdi-gateway-activity.system.svc:8081",
            "--namespace=default",
            "--own-namespace=system",
        ];
        assert!(requested(&flags).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_may_fail_at_first_but_not_for_long() {
        let tries = Cell::new(0);
        let check = async |succeeds_at: u32| {
            tries.set(tries.get() + 1);
            match tries.get() >= succeeds_at {
                true => Ok("good".to_owned()),
                false => Err(Problem::new("bad", "mend it")),
            }
        };
        assert_eq!(patiently(async || check(3).await).await, Ok("good".to_owned()));
        assert_eq!(tries.replace(0), 3);
        let finding = patiently(async || check(u32::MAX).await).await;
        assert_eq!(Line(&finding).to_string(), "FAIL  bad\n      To do: mend it");
        assert!((5..=10).contains(&tries.get()), "{} tries", tries.get());
    }
}
