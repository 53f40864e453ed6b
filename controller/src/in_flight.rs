//! What this controller has written and its watches have not shown yet.
//!
//! A pass that comes in between would do it all again. The API server would refuse that, so nothing would break; but it
//! would be asked in vain, and what follows would wait for the watch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{ResourceExt, runtime::reflector::ObjectRef};
use vdi_api::{VDISession, VDISessionStatus};

use crate::{apply::Outcome, plan::Notice};

/// A watch that takes longer than this is broken, and then asking in vain does no harm.
const PATIENCE: Duration = Duration::from_secs(5);
/// In this time an interrupted watch has begun again, unless the API server is gone.
pub const BROKEN_WATCH: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct InFlight {
    /// The sessions whose status was written.
    written: Mutex<HashMap<ObjectRef<VDISession>, Written>>,
    /// When a session's pod was created.
    created: Mutex<HashMap<ObjectRef<VDISession>, Instant>>,
    /// When a namespace's network policy was written.
    protected: Mutex<HashMap<String, Instant>>,
    /// Held while one is being written: the others wait for it.
    protecting: tokio::sync::Mutex<()>,
    /// The latest notice that was given of each session, by its key.
    told: Mutex<HashMap<ObjectRef<VDISession>, HashMap<&'static str, String>>>,
}

/// A session as the last write of its status has left it, and the versions before that, which may still be seen.
struct Written {
    latest: Arc<VDISession>,
    replaced: Vec<String>,
}

impl InFlight {
    /// The status of this version of the session has been written, which made it another version.
    pub fn status_written(&self, session: &VDISession, status: VDISessionStatus, version: String) {
        let mut latest = VDISession { status: Some(status), ..session.clone() };
        let Some(before) = latest.metadata.resource_version.replace(version) else { return };
        let mut written = lock(&self.written);
        let earlier = written.remove(&ObjectRef::from_obj(session)).map(|written| written.replaced).unwrap_or_default();
        let replaced = earlier.into_iter().chain([before]).collect();
        written.insert(ObjectRef::from_obj(session), Written { latest: Arc::new(latest), replaced });
    }

    /// The session, as newly as it is known: a version that was replaced by a write of its status is what it was made then.
    /// Somebody else may have changed it since; then the next write is refused. Versions are compared for equality alone, as
    /// the API conventions ask for.
    pub fn latest(&self, session: Arc<VDISession>) -> Arc<VDISession> {
        let mut written = lock(&self.written);
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

    pub fn pod_created(&self, session: &VDISession) {
        let mut created = lock(&self.created);
        created.retain(|_, when| when.elapsed() < PATIENCE);
        created.insert(ObjectRef::from_obj(session), Instant::now());
    }

    /// Protects a namespace, unless that was done and hasn't been seen yet. What was refused was not done.
    pub async fn protect<E>(
        &self,
        namespace: &str,
        write: impl AsyncFnOnce() -> Result<Outcome, E>,
    ) -> Result<Outcome, E> {
        let _alone = self.protecting.lock().await;
        if lock(&self.protected).get(namespace).is_some_and(|when| when.elapsed() < BROKEN_WATCH) {
            return Ok(Outcome::Done);
        }
        let outcome = write().await?;
        if outcome == Outcome::Done {
            lock(&self.protected).insert(namespace.to_owned(), Instant::now());
        }
        Ok(outcome)
    }

    pub fn policy_seen(&self, namespace: &str) {
        lock(&self.protected).remove(namespace);
    }

    /// Whether the notice wasn't given yet, as far as is remembered. It counts as given now.
    pub fn is_news(&self, session: &VDISession, notice: &Notice) -> bool {
        let key = format!("{} {}", session.uid().unwrap_or_default(), notice.key);
        let mut told = lock(&self.told);
        told.entry(ObjectRef::from_obj(session)).or_default().insert(notice.reason, key.clone()) != Some(key)
    }

    /// The session is gone.
    pub fn forget(&self, session: &ObjectRef<VDISession>) {
        lock(&self.written).remove(session);
        lock(&self.created).remove(session);
        lock(&self.told).remove(session);
    }

    pub fn pod_seen(&self, session: &VDISession) {
        lock(&self.created).remove(&ObjectRef::from_obj(session));
    }

    /// How long to wait for the session's pod to be seen before it is created again; `None` when it isn't on its way.
    pub fn pod_is_coming(&self, session: &VDISession) -> Option<Duration> {
        let created = lock(&self.created).get(&ObjectRef::from_obj(session))?.elapsed();
        PATIENCE.checked_sub(created)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use vdi_api::Phase;

    use super::*;
    use crate::{fixture, reason::Reason};

    #[test]
    fn a_session_is_as_its_status_was_written_until_another_version_is_seen() {
        let in_flight = InFlight::default();
        let seen = |version: &str| {
            let mut session = fixture::session("a");
            session.metadata.resource_version = Some(version.to_owned());
            in_flight.latest(Arc::new(session))
        };
        let write = |session: &VDISession, phase, version: &str| {
            let status = VDISessionStatus { phase, ..Default::default() };
            in_flight.status_written(session, status, version.to_owned());
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
    async fn a_namespace_is_protected_once_its_policy_was_written_and_not_when_it_was_refused() {
        let in_flight = InFlight::default();
        let protect = async |outcome: Outcome| {
            let mut is_asked = false;
            let write = async || {
                is_asked = true;
                Ok::<_, ()>(outcome)
            };
            let outcome = in_flight.protect("team", write).await.unwrap();
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
    fn a_created_pod_is_awaited_for_a_while_and_until_it_is_seen() {
        let (in_flight, session) = (InFlight::default(), fixture::session("a"));
        assert_eq!(in_flight.pod_is_coming(&session), None);
        in_flight.pod_created(&session);
        assert!(in_flight.pod_is_coming(&session).is_some_and(|wait| wait <= PATIENCE));
        assert_eq!(in_flight.pod_is_coming(&fixture::session("b")), None);
        in_flight.pod_seen(&session);
        assert_eq!(in_flight.pod_is_coming(&session), None);
    }
}
