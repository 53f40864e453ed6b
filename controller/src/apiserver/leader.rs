//! Which of several replicas works: the one that holds a Lease, as in client-go's leader election.
//!
//! A deposed leader must not write, and it may not know that it was deposed: it can be stopped or cut off. So it writes only for
//! [`WRITES`] after it last requested the lease with success, and other replicas take the lease only when they haven't seen it renewed
//! for [`LEASE`], even if somebody has deleted it. No machine's clock is compared with another's. `LEASE - WRITES` lies in between, and
//! a write takes at most [`WRITE_TIMEOUT`], which the API server is told too, so that a write which starts at the last moment is over
//! before another replica begins.
//!
//! That leaves a process that is stopped between two instructions, with a write half handed to the kernel. Against it, every status
//! patch carries the version that it came from, and every child has one possible name: a write that comes twice, or too late, is
//! refused.

use std::{
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use futures::StreamExt;
use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    runtime::{WatchStreamExt, watcher::watch_object},
};
use tokio::time::sleep;
use vdi_service::{Aside, Lenient, Need, trouble};

use super::{clock::Clock, lease::Lease, write_gate::WriteGate};

/// How long other replicas wait for a leader that no longer renews its lease.
const LEASE: Duration = Duration::from_secs(12);
/// How long a leader writes after it last requested its lease with success.
const WRITES: Duration = Duration::from_secs(6);
/// How often a leader renews its lease, and how soon a failure is retried.
const RENEW: Duration = Duration::from_secs(2);
/// The time limit of a write of the lease: two can fail, and the leader still leads.
pub const RENEW_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit of every other write.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

const _: () = assert!(WRITES.as_secs() + WRITE_TIMEOUT.as_secs() < LEASE.as_secs());
const _: () = assert!(RENEW.as_secs() + RENEW_TIMEOUT.as_secs() < WRITES.as_secs());

/// The pause before the lease is released: this replica's last writes have to reach the next leader's caches.
const SETTLE: Duration = Duration::from_millis(250);

/// A replica that wants to lead.
pub struct Candidate {
    leases: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    /// Open while this replica surely leads.
    write_gate: WriteGate,
    clock: Arc<Clock>,
    aside: Arc<Aside>,
}

/// The lease as last seen, and since when it hasn't changed.
struct Seen {
    lease: Option<Lease>,
    since: Instant,
    /// When a lease that had a holder was deleted: the holder may not know it yet.
    vanished: Option<Instant>,
}

#[derive(Debug, PartialEq)]
enum Decision {
    Acquire,
    Wait(Duration),
}

impl Seen {
    /// Takes in the lease as it is now.
    fn update(&mut self, lease: Option<Lease>, now: Instant) {
        let spec = |lease: &Option<Lease>| lease.as_ref().and_then(|lease| lease.spec.clone());
        if spec(&lease) != spec(&self.lease) {
            self.since = now;
        }
        let uid = |lease: &Option<Lease>| lease.as_ref().map(|lease| lease.metadata.uid.clone());
        if self.lease.as_ref().and_then(holder).is_some() && uid(&lease) != uid(&self.lease) {
            self.vanished = Some(now);
        }
        self.lease = lease;
    }

    /// Whether the lease can be taken.
    fn decide(&self, now: Instant) -> Decision {
        let end = match &self.lease {
            // It is installed with the controller, so somebody has deleted it, and another replica may still lead.
            None => self.since + LEASE,
            Some(lease) if holder(lease).is_none() => self.vanished.map_or(self.since, |vanished| vanished + LEASE),
            // As the holder wrote it: during an upgrade that may differ from this replica's.
            Some(lease) => self.since + duration(lease).unwrap_or(LEASE),
        };
        if now < end { Decision::Wait(end - now) } else { Decision::Acquire }
    }
}

/// A name that no other replica has, and this one won't have after a restart.
pub fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // Seeded by the system, anew for every process.
    let random = RandomState::new().hash_one(std::process::id());
    format!("{}-{:08x}", host.trim(), random as u32)
}

impl Candidate {
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        write_gate: WriteGate,
        clock: Arc<Clock>,
        aside: Arc<Aside>,
    ) -> Self {
        aside.expect::<Lease>();
        Self {
            leases: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            write_gate,
            clock,
            aside,
        }
    }

    /// The same API, for leases that may not be parseable.
    fn lenient(&self) -> Api<Lenient<Lease>> {
        Api::namespaced(self.leases.clone().into_client(), &self.namespace)
    }

    async fn read(&self) -> kube::Result<Option<Lease>> {
        let lease = self.lenient().get_opt(&self.name).await?;
        Ok(lease.map(|lease| Lease::read(lease, &self.aside)))
    }

    /// Waits for the lease by watching it, and takes it. `need` is met once it has been read.
    pub async fn acquire(&self, need: &Need) -> anyhow::Result<Leadership<'_>> {
        #[expect(clippy::disallowed_methods, reason = "what is watched is Lenient")]
        let mut changes = pin!(watch_object(self.lenient(), &self.name).default_backoff());
        let mut seen: Option<Seen> = None;
        loop {
            let decision = seen.as_ref().map(|seen| seen.decide(Instant::now()));
            let wait = match (&mut seen, decision) {
                (Some(seen), Some(Decision::Acquire)) => match self.take(seen).await {
                    Ok(leadership) => return Ok(leadership),
                    // Another replica was faster, or the watch lags behind: ask the API server.
                    Err(error) if is_outdated(&error) => {
                        if let Ok(lease) = self.read().await {
                            seen.update(lease, Instant::now());
                        }
                        RENEW
                    }
                    Err(error) => {
                        need.lacks(&trouble::of_request(&error));
                        RENEW
                    }
                },
                (_, Some(Decision::Wait(wait))) => wait,
                _ => Duration::MAX,
            };
            tokio::select! {
                change = changes.next() => {
                    let lease = match change.context("the watch of the lease has ended")? {
                        Ok(lease) => lease.map(|lease| Lease::read(lease, &self.aside)),
                        Err(error) => {
                            need.lacks(&trouble::of_watch::<Lease>(&error));
                            continue;
                        }
                    };
                    need.is_met();
                    let holder = lease.as_ref().and_then(holder).map(str::to_owned);
                    let now = Instant::now();
                    let before = seen.get_or_insert(Seen { lease: None, since: now, vanished: None });
                    if holder.as_deref() != before.lease.as_ref().and_then(self::holder) {
                        tracing::info!(lease = self.to_string(), holder, "waiting to lead");
                    }
                    before.update(lease, now);
                }
                () = sleep(wait) => {}
            }
        }
    }

    async fn take(&self, seen: &Seen) -> Result<Leadership<'_>, kube::Error> {
        let now = MicroTime(self.clock.now());
        let before = seen.lease.as_ref().and_then(|lease| lease.spec.clone());
        // With the labels and annotations of whoever installed it, such as Helm, which needs them to recognize it.
        let found = seen.lease.as_ref().map(|lease| lease.metadata.clone()).unwrap_or_default();
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), managed_fields: None, ..found },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(before.map_or(0, |spec| spec.lease_transitions.unwrap_or_default() + 1)),
                ..Default::default()
            }),
        };
        let sent = Instant::now();
        let lease = match seen.lease {
            None => self.leases.create(&PostParams::default(), &lease).await?,
            Some(_) => self.leases.replace(&self.name, &PostParams::default(), &lease).await?,
        };
        // It was just written, so it can be parsed now, whatever it was before.
        let lease = Lease::read(Lenient::Parsed(lease), &self.aside);
        self.write_gate.open_until(sent + WRITES);
        tracing::info!(lease = self.to_string(), identity = self.identity, "leading");
        Ok(Leadership { candidate: self, lease })
    }
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "lease {}/{}", self.namespace, self.name)
    }
}

/// The lease, held by this replica.
pub struct Leadership<'a> {
    candidate: &'a Candidate,
    /// As last written: a write by anybody else makes the next one fail.
    lease: Lease,
}

impl Leadership<'_> {
    /// Renews the lease until it is lost, and returns how it was lost.
    ///
    /// While the API server can't be reached, nobody can take the lease and nobody can write, so that alone doesn't end the
    /// leadership: the gate closes, and opens again if the lease can be renewed before somebody else takes it.
    pub async fn renew(&mut self) -> anyhow::Error {
        let candidate = self.candidate;
        let mut was_open = true;
        loop {
            sleep(RENEW).await;
            let sent = Instant::now();
            match self.write(Some(candidate.identity.clone())).await {
                Ok(()) => {
                    candidate.write_gate.open_until(sent + WRITES);
                    if !was_open {
                        tracing::info!(lease = candidate.to_string(), "the lease is renewed again");
                    }
                }
                Err(error) if is_outdated(&error) => {
                    if let Err(lost) = self.read_again().await {
                        candidate.write_gate.close();
                        return lost;
                    }
                }
                Err(error) => tracing::warn!(%error, lease = candidate.to_string(), "the lease could not be renewed"),
            }
            let is_open = candidate.write_gate.is_open();
            if was_open && !is_open {
                tracing::warn!(lease = candidate.to_string(), "writing nothing until the lease can be renewed");
            }
            was_open = is_open;
        }
    }

    /// Somebody wrote the lease. It may have been this replica, in a request whose answer got lost; otherwise the lease is lost.
    async fn read_again(&mut self) -> anyhow::Result<()> {
        let Candidate { identity, .. } = self.candidate;
        match self.candidate.read().await {
            Ok(Some(lease)) if holder(&lease) == Some(identity) => self.lease = lease,
            Ok(Some(lease)) => bail!("lost {}, which {} has now", self.candidate, holder(&lease).unwrap_or("nobody")),
            Ok(None) => bail!("lost {}, which was deleted", self.candidate),
            Err(error) => tracing::warn!(%error, lease = self.candidate.to_string(), "the lease could not be read"),
        }
        Ok(())
    }

    /// Gives the lease up, so that another replica can take it at once.
    pub async fn release(mut self) {
        sleep(SETTLE).await;
        self.candidate.write_gate.close();
        let mut released = self.write(None).await;
        if released.as_ref().is_err_and(is_outdated) && self.read_again().await.is_ok() {
            released = self.write(None).await;
        }
        match released {
            Ok(()) => tracing::info!(lease = self.candidate.to_string(), "released"),
            Err(error) => tracing::warn!(%error, lease = self.candidate.to_string(), "the lease could not be released"),
        }
    }

    async fn write(&mut self, holder: Option<String>) -> Result<(), kube::Error> {
        let mut lease = self.lease.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = holder;
        spec.renew_time = Some(MicroTime(self.candidate.clock.now()));
        self.lease = self.candidate.leases.replace(&self.candidate.name, &PostParams::default(), &lease).await?;
        Ok(())
    }
}

fn duration(lease: &Lease) -> Option<Duration> {
    let seconds = lease.spec.as_ref()?.lease_duration_seconds?;
    Some(Duration::from_secs(seconds.try_into().ok()?))
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Whether the lease was changed, created or deleted since it was last seen.
fn is_outdated(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn lease(holder: Option<&str>, renewed: i64, seconds: Option<i32>) -> Option<Lease> {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            ..Default::default()
        };
        Some(Lease { metadata: ObjectMeta::default(), spec: Some(spec) })
    }

    #[test]
    fn a_lease_is_taken_when_nobody_holds_it_or_it_was_not_renewed_in_time() {
        let start = Instant::now();
        let other = lease(Some("other"), 0, Some(15));
        for (name, lease, passed, decision) in [
            ("there is none, and a leader may not know yet", None, 11, Decision::Wait(Duration::from_secs(1))),
            ("there has been none for long", None, 12, Decision::Acquire),
            ("it has no spec", Some(Lease::default()), 0, Decision::Acquire),
            ("it was released", lease(None, 0, Some(15)), 0, Decision::Acquire),
            ("it was released as client-go does it", lease(Some(""), 0, Some(1)), 0, Decision::Acquire),
            ("it was just renewed", other.clone(), 0, Decision::Wait(Duration::from_secs(15))),
            ("it was renewed a while ago", other.clone(), 14, Decision::Wait(Duration::from_secs(1))),
            ("its time is over", other, 15, Decision::Acquire),
            ("it has no duration", lease(Some("other"), 0, None), 0, Decision::Wait(LEASE)),
            ("it has no sane duration", lease(Some("other"), 0, Some(-1)), 0, Decision::Wait(LEASE)),
        ] {
            let seen = Seen { lease, since: start, vanished: None };
            assert_eq!(seen.decide(start + Duration::from_secs(passed)), decision, "{name}");
        }
    }

    /// The times in a lease are by its holder's clock, and ignored.
    #[test]
    fn a_lease_lasts_from_when_its_last_change_was_seen() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut seen = Seen { lease: lease(Some("other"), 1_000_000, Some(12)), since: start, vanished: None };
        seen.update(lease(Some("other"), 1_000_000, Some(12)), after(5));
        assert_eq!(seen.decide(after(11)), Decision::Wait(Duration::from_secs(1)), "seen again, but not renewed");
        seen.update(lease(Some("other"), 7, Some(12)), after(11));
        assert_eq!(seen.decide(after(12)), Decision::Wait(Duration::from_secs(11)));
        assert_eq!(seen.decide(after(23)), Decision::Acquire);
    }

    #[test]
    fn a_lease_that_is_deleted_and_created_again_is_waited_out_like_one_that_is_gone() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut seen = Seen { lease: lease(Some("other"), 0, Some(12)), since: start, vanished: None };
        seen.update(None, after(1));
        assert_eq!(seen.decide(after(1)), Decision::Wait(LEASE));
        let made_again = Lease { metadata: ObjectMeta { uid: Some("2".to_owned()), ..Default::default() }, spec: None };
        seen.update(Some(made_again), after(3));
        assert_eq!(seen.decide(after(3)), Decision::Wait(LEASE - Duration::from_secs(2)));
        assert_eq!(seen.decide(after(1) + LEASE), Decision::Acquire);
    }

    #[test]
    fn two_replicas_on_one_machine_have_different_names() {
        assert_ne!(identity(), identity());
    }
}
