//! All sessions, by host. Open connections learn of every change of their session.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};
use vdi_api::Email;

use super::{freshness::Freshness, session::Session};

/// A session as it is now, and its later versions. It closes when the session is gone.
pub type Changes = watch::Receiver<Arc<Session>>;

#[derive(Debug)]
pub struct Directory {
    by_host: RwLock<HashMap<String, watch::Sender<Arc<Session>>>>,
    /// The owner of each session that has changed.
    changed: broadcast::Sender<Arc<Email>>,
    /// How old the content may be.
    pub freshness: Freshness,
}

/// A receiver this many changes behind reads everything again.
const BACKLOG: usize = 256;

impl Default for Directory {
    fn default() -> Self {
        let (by_host, freshness) = Default::default();
        Self { by_host, changed: broadcast::Sender::new(BACKLOG), freshness }
    }
}

impl Directory {
    /// The session that has this host now.
    pub fn by_host(&self, host: &str) -> Option<Changes> {
        let sessions = self.by_host.read().unwrap_or_else(PoisonError::into_inner);
        sessions.get(host).map(watch::Sender::subscribe)
    }

    /// All sessions of one person, sorted by namespace and name.
    pub fn by_owner(&self, owner: &Email) -> Vec<Arc<Session>> {
        let mut sessions = self.matching(|session| session.owner.is_same_person(owner));
        sessions.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        sessions
    }

    pub fn by_name(&self, namespace: &str, name: &str) -> Option<Arc<Session>> {
        self.matching(|session| session.name == name && session.namespace == namespace).pop()
    }

    fn matching(&self, wanted: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let sessions = self.by_host.read().unwrap_or_else(PoisonError::into_inner);
        sessions.values().map(|session| session.borrow().clone()).filter(|session| wanted(session)).collect()
    }

    pub fn count(&self) -> usize {
        self.by_host.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// All changes of one person's sessions from now on.
    pub fn changes_of(&self, owner: Email) -> OwnerChanges {
        OwnerChanges { owner, changed: self.changed.subscribe() }
    }

    /// Inserts or updates a session. It replaces any other session at its host.
    pub fn put(&self, session: Session) {
        let mut sessions = self.by_host.write().unwrap_or_else(PoisonError::into_inner);
        match sessions.get(&session.host) {
            Some(known) => {
                if **known.borrow() == session {
                    return;
                }
                let session = Arc::new(session);
                let before = known.send_replace(session.clone());
                if before.owner != session.owner {
                    self.notify(&before.owner);
                }
                self.notify(&session.owner);
            }
            None => {
                self.notify(&session.owner);
                sessions.insert(session.host.clone(), watch::Sender::new(Arc::new(session)));
            }
        }
    }

    /// Removes the session with this uid. A newer session at the same host stays.
    pub fn remove(&self, host: &str, uid: &str) {
        let mut sessions = self.by_host.write().unwrap_or_else(PoisonError::into_inner);
        let is_this = sessions.get(host).is_some_and(|known| known.borrow().uid == uid);
        if let Some(gone) = is_this.then(|| sessions.remove(host)).flatten() {
            self.notify(&gone.borrow().owner);
        }
    }

    fn notify(&self, owner: &Email) {
        // An error means that nobody listens.
        let _ = self.changed.send(Arc::new(owner.clone()));
    }
}

/// The changes of one person's sessions.
#[derive(Debug)]
pub struct OwnerChanges {
    owner: Email,
    changed: broadcast::Receiver<Arc<Email>>,
}

impl OwnerChanges {
    /// Waits for the next change. `None` once there can be no more.
    pub async fn next(&mut self) -> Option<()> {
        loop {
            match self.changed.recv().await {
                Ok(owner) if owner.is_same_person(&self.owner) => return Some(()),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Some(()),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Discards all changes so far.
    pub fn skip(&mut self) {
        self.changed = self.changed.resubscribe();
    }
}

/// Completes when connections that were opened to this version of a session must be cut: the session is gone, suspended
/// or over, or it has another desktop or another owner.
pub async fn revoked(opened: Arc<Session>, mut changes: Changes) {
    let address = |session: &Session| session.desktop.as_ref().map(|desktop| desktop.address);
    let is_still_valid = |now: &Session| {
        now.keeps_connections()
            && (&now.uid, &now.owner, address(now)) == (&opened.uid, &opened.owner, address(&opened))
    };
    // An error means that the session is gone.
    let _ = changes.wait_for(|now| !is_still_valid(now)).await;
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use vdi_api::Phase;

    use super::*;
    use crate::{fixture::session, sessions::Desktop};

    #[test]
    fn a_session_is_found_at_its_host_until_it_is_gone() {
        let directory = Directory::default();
        let session = session();
        assert!(directory.by_host(&session.host).is_none());
        directory.put(session.clone());
        assert_eq!(**directory.by_host(&session.host).unwrap().borrow(), session);
        directory.remove(&session.host, "another");
        assert!(directory.by_host(&session.host).is_some(), "another one had this host before");
        directory.remove(&session.host, &session.uid);
        assert!(directory.by_host(&session.host).is_none());
    }

    #[tokio::test]
    async fn a_person_is_woken_by_changes_of_their_own_sessions_and_by_no_others() {
        let directory = Directory::default();
        directory.put(session());
        let bobs =
            Session { host: "bob.vdi.example.com".to_owned(), owner: "bob@example.com".parse().unwrap(), ..session() };
        let mut changes = directory.changes_of(session().owner);
        directory.put(session());
        directory.put(bobs.clone());
        directory.remove(&bobs.host, &bobs.uid);
        assert!(changes.next().now_or_never().is_none(), "nothing of hers is different");
        let changed = Session { phase: Phase::Terminating, ..session() };
        directory.put(changed.clone());
        assert!(changes.next().now_or_never().is_some());
        directory.remove(&changed.host, &changed.uid);
        changes.skip();
        assert!(changes.next().now_or_never().is_none(), "she has just looked");
        (0..=BACKLOG).for_each(|_| {
            directory.put(bobs.clone());
            directory.remove(&bobs.host, &bobs.uid);
        });
        assert!(changes.next().now_or_never().is_some(), "something may have been missed");
    }

    #[test]
    fn connections_survive_irrelevant_changes_and_are_cut_by_each_relevant_one() {
        let open = || {
            let directory = Directory::default();
            directory.put(session());
            let changes = directory.by_host(&session().host).unwrap();
            (directory, revoked(Arc::new(session()), changes))
        };
        let (directory, revoked) = open();
        directory.put(session());
        directory.put(Session { ends: Some(jiff::Timestamp::UNIX_EPOCH), ..session() });
        let busy = Desktop { is_ready: false, ..session().desktop.unwrap() };
        directory.put(Session { phase: Phase::Creating, desktop: Some(busy), ..session() });
        assert!(revoked.now_or_never().is_none(), "its time was raised, and its node was not record of");
        let desktop = session().desktop.unwrap();
        for changed in [
            Session { phase: Phase::Terminating, ..session() },
            Session { phase: Phase::Pending, ..session() },
            Session { desktop: None, ..session() },
            Session { desktop: Some(Desktop { address: "10.1.2.4:6080".parse().unwrap(), ..desktop }), ..session() },
            Session { uid: "another".to_owned(), ..session() },
            Session { owner: "bob@example.com".parse().unwrap(), ..session() },
        ] {
            let (directory, revoked) = open();
            directory.put(changed.clone());
            assert!(revoked.now_or_never().is_some(), "{changed:?}");
        }
        let (directory, revoked) = open();
        directory.remove(&session().host, &session().uid);
        assert!(revoked.now_or_never().is_some(), "gone");
    }
}
