//! What this controller has written and its watches have not shown yet.
//!
//! A pass that comes in between would do it all again. The API server would refuse that, so nothing would break; but it
//! would be asked in vain.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{ResourceExt, runtime::reflector::ObjectRef};
use vdi_api::VDISession;

use crate::plan::Notice;

/// A watch that takes longer than this is broken, and then asking in vain does no harm.
const PATIENCE: Duration = Duration::from_secs(5);
/// In this time an interrupted watch has begun again, unless the API server is gone.
pub const BROKEN_WATCH: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct InFlight {
    /// The version of a session that was replaced by a write of its status.
    replaced: Mutex<HashMap<ObjectRef<VDISession>, String>>,
    /// When a session's pod was created.
    created: Mutex<HashMap<ObjectRef<VDISession>, Instant>>,
    /// When a namespace's network policy was written.
    protected: Mutex<HashMap<String, Instant>>,
    /// Held while one is being written: the others wait for it.
    protecting: tokio::sync::Mutex<()>,
    /// The latest notice that was given of each session, by its key.
    told: Mutex<HashMap<ObjectRef<VDISession>, HashMap<&'static str, String>>>,
}

impl InFlight {
    /// The status of this version of the session has been written.
    pub fn status_written(&self, session: &VDISession) {
        if let Some(version) = session.resource_version() {
            lock(&self.replaced).insert(ObjectRef::from_obj(session), version);
        }
    }

    /// Whether this version of the session was already replaced. Versions are compared for equality alone, as the API
    /// conventions ask for; the next one is on its way here, and brings a pass of its own.
    pub fn is_replaced(&self, session: &VDISession) -> bool {
        let mut replaced = lock(&self.replaced);
        let key = ObjectRef::from_obj(session);
        let same = replaced.get(&key).is_some_and(|version| Some(version) == session.resource_version().as_ref());
        if !same {
            replaced.remove(&key);
        }
        same
    }

    pub fn pod_created(&self, session: &VDISession) {
        let mut created = lock(&self.created);
        created.retain(|_, when| when.elapsed() < PATIENCE);
        created.insert(ObjectRef::from_obj(session), Instant::now());
    }

    /// Protects a namespace, unless that was done and hasn't been seen yet.
    pub async fn protect<T: Default, E>(
        &self,
        namespace: &str,
        write: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _alone = self.protecting.lock().await;
        if lock(&self.protected).get(namespace).is_some_and(|when| when.elapsed() < BROKEN_WATCH) {
            return Ok(T::default());
        }
        let result = write().await?;
        lock(&self.protected).insert(namespace.to_owned(), Instant::now());
        Ok(result)
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
        lock(&self.replaced).remove(session);
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
    use super::*;
    use crate::fixture;

    #[test]
    fn a_session_is_left_alone_until_its_written_status_is_seen() {
        let (in_flight, mut session) = (InFlight::default(), fixture::session("a"));
        session.metadata.resource_version = Some("7".to_owned());
        assert!(!in_flight.is_replaced(&session));
        in_flight.status_written(&session);
        assert!(in_flight.is_replaced(&session));
        session.metadata.resource_version = Some("8".to_owned());
        assert!(!in_flight.is_replaced(&session));
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
