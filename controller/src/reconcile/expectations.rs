//! What this controller has written and its watches haven't shown yet.
//!
//! A pass in between would write it again. The API server would refuse that, so nothing would break, but it would be a wasted request,
//! and whatever follows would wait for the watch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{ResourceExt, runtime::reflector::ObjectRef};
use vdi_api::{VDISession, VDISessionStatus};
use vdi_planner::plan::Notice;

use super::apply::Outcome;

/// A watch that takes longer than this is broken, and then a wasted request does no harm.
const WATCH_DELAY: Duration = Duration::from_secs(5);
/// After this time an interrupted watch has resumed, unless the API server is gone.
pub const BROKEN_WATCH: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Expectations {
    /// The sessions whose status was written.
    statuses: Mutex<HashMap<ObjectRef<VDISession>, Written>>,
    /// When a session's pod was created.
    pods: Mutex<HashMap<ObjectRef<VDISession>, Instant>>,
    /// When a namespace's network policy was written.
    policies: Mutex<HashMap<String, Instant>>,
    /// Held while a network policy is being written: others wait for it.
    writing_policy: tokio::sync::Mutex<()>,
    /// The key of the latest notice that was given about each session, by reason.
    notices: Mutex<HashMap<ObjectRef<VDISession>, HashMap<&'static str, String>>>,
}

/// A session as the last write of its status left it, and the earlier versions, which the watch may still show.
struct Written {
    latest: Arc<VDISession>,
    replaced: Vec<String>,
}

impl Expectations {
    /// The status of this version of the session was written, which made it `version`.
    pub fn expect_status(&self, session: &VDISession, status: VDISessionStatus, version: String) {
        let mut latest = VDISession { status: Some(status), ..session.clone() };
        let Some(before) = latest.metadata.resource_version.replace(version) else { return };
        let mut statuses = lock(&self.statuses);
        let earlier =
            statuses.remove(&ObjectRef::from_obj(session)).map(|written| written.replaced).unwrap_or_default();
        let replaced = earlier.into_iter().chain([before]).collect();
        statuses.insert(ObjectRef::from_obj(session), Written { latest: Arc::new(latest), replaced });
    }

    /// The newest known version of the session: a version that a write of the status replaced stands for its replacement. If somebody
    /// else has changed it since, the next write is refused. Versions are only compared for equality, as the API conventions
    /// require.
    pub fn latest(&self, session: Arc<VDISession>) -> Arc<VDISession> {
        let mut written = lock(&self.statuses);
        let key = ObjectRef::from_obj(session.as_ref());
        match written.get(&key) {
            Some(Written { latest, replaced }) if session.resource_version().is_some_and(|v| replaced.contains(&v)) => {
                latest.clone()
            }
            _ => {
                written.remove(&key);
                session
            }
        }
    }

    pub fn expect_pod(&self, session: &VDISession) {
        let mut created = lock(&self.pods);
        created.retain(|_, when| when.elapsed() < WATCH_DELAY);
        created.insert(ObjectRef::from_obj(session), Instant::now());
    }

    /// Writes a namespace's network policy, unless it was written and hasn't been seen yet. A refused write doesn't count.
    pub async fn write_policy<E>(
        &self,
        namespace: &str,
        write: impl AsyncFnOnce() -> Result<Outcome, E>,
    ) -> Result<Outcome, E> {
        let _alone = self.writing_policy.lock().await;
        if lock(&self.policies).get(namespace).is_some_and(|when| when.elapsed() < BROKEN_WATCH) {
            return Ok(Outcome::Done);
        }
        let outcome = write().await?;
        if outcome == Outcome::Done {
            lock(&self.policies).insert(namespace.to_owned(), Instant::now());
        }
        Ok(outcome)
    }

    pub fn observe_policy(&self, namespace: &str) {
        lock(&self.policies).remove(namespace);
    }

    /// Whether the notice is new, as far as this process remembers. It counts as given from now on.
    pub fn is_new(&self, session: &VDISession, notice: &Notice) -> bool {
        let key = format!("{} {}", session.uid().unwrap_or_default(), notice.key);
        let mut told = lock(&self.notices);
        told.entry(ObjectRef::from_obj(session)).or_default().insert(notice.reason, key.clone()) != Some(key)
    }

    /// The session is gone.
    pub fn forget(&self, session: &ObjectRef<VDISession>) {
        lock(&self.statuses).remove(session);
        lock(&self.pods).remove(session);
        lock(&self.notices).remove(session);
    }

    pub fn observe_pod(&self, session: &VDISession) {
        lock(&self.pods).remove(&ObjectRef::from_obj(session));
    }

    /// How long to wait for the watch to show the session's pod before it is created again; `None` when none is expected.
    pub fn pod_expected(&self, session: &VDISession) -> Option<Duration> {
        let created = lock(&self.pods).get(&ObjectRef::from_obj(session))?.elapsed();
        WATCH_DELAY.checked_sub(created)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use vdi_api::Phase;
    use vdi_planner::{fixture, model::Reason};

    use super::*;

    #[test]
    fn a_session_is_as_its_status_was_written_until_another_version_is_seen() {
        let expectations = Expectations::default();
        let seen = |version: &str| {
            let mut session = fixture::session("a");
            session.metadata.resource_version = Some(version.to_owned());
            expectations.latest(Arc::new(session))
        };
        let write = |session: &VDISession, phase, version: &str| {
            let status = VDISessionStatus { phase, ..Default::default() };
            expectations.expect_status(session, status, version.to_owned());
        };
        let known = |session: &VDISession| {
            let phase = session.status.as_ref().map(|status| status.phase);
            (session.resource_version().unwrap(), phase.unwrap_or_default())
        };
        write(&seen("7"), Phase::Creating, "8");
        write(&seen("7"), Phase::Running, "9");
        for stale in ["7", "8"] {
            assert_eq!(known(&seen(stale)), ("9".to_owned(), Phase::Running));
        }
        assert_eq!(known(&seen("10")), ("10".to_owned(), Phase::Pending));
        assert_eq!(known(&seen("8")), ("8".to_owned(), Phase::Pending), "it was forgotten");
    }

    #[tokio::test]
    async fn a_policy_counts_as_written_once_it_was_and_not_when_it_was_refused() {
        let expectations = Expectations::default();
        let protect = async |outcome: Outcome| {
            let mut is_asked = false;
            let write = async || {
                is_asked = true;
                Ok::<_, ()>(outcome)
            };
            let outcome = expectations.write_policy("team", write).await.unwrap();
            (outcome, is_asked)
        };
        let refused = || Outcome::Refused { reason: Reason::NetworkPolicyRefused, message: "no".to_owned() };
        for _ in 0..2 {
            assert_eq!(protect(refused()).await, (refused(), true), "it is asked for again each time");
        }
        assert_eq!(protect(Outcome::Done).await, (Outcome::Done, true));
        assert_eq!(protect(refused()).await, (Outcome::Done, false), "its watch will show it");
    }

    #[test]
    fn a_created_pod_is_expected_for_a_while_and_until_it_is_seen() {
        let (expectations, session) = (Expectations::default(), fixture::session("a"));
        assert_eq!(expectations.pod_expected(&session), None);
        expectations.expect_pod(&session);
        assert!(expectations.pod_expected(&session).is_some_and(|wait| wait <= WATCH_DELAY));
        assert_eq!(expectations.pod_expected(&fixture::session("b")), None);
        expectations.observe_pod(&session);
        assert_eq!(expectations.pod_expected(&session), None);
    }
}
