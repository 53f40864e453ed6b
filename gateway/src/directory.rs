//! The sessions there are, by host. What is open to one learns of each change of it.

pub mod freshness;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::watch;
use vdi_api::Email;

pub use freshness::Freshness;

use crate::session::Session;

/// A session as it is now, and as it becomes. It ends when the session is gone.
pub type Changes = watch::Receiver<Arc<Session>>;

#[derive(Debug, Default)]
pub struct Directory {
    by_host: RwLock<HashMap<String, watch::Sender<Arc<Session>>>>,
    /// Something has changed.
    changed: watch::Sender<()>,
    /// How much what is here can be relied on.
    pub freshness: Freshness,
}

impl Directory {
    /// The session that has the host now.
    pub fn at(&self, host: &str) -> Option<Changes> {
        let sessions = self.by_host.read().unwrap_or_else(PoisonError::into_inner);
        sessions.get(host).map(watch::Sender::subscribe)
    }

    /// All sessions of one person, by namespace and name.
    pub fn of(&self, owner: &Email) -> Vec<Arc<Session>> {
        let mut sessions = self.matching(|session| session.owner.is_same_person(owner));
        sessions.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        sessions
    }

    pub fn named(&self, namespace: &str, name: &str) -> Option<Arc<Session>> {
        self.matching(|session| session.name == name && session.namespace == namespace).pop()
    }

    fn matching(&self, wanted: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let sessions = self.by_host.read().unwrap_or_else(PoisonError::into_inner);
        sessions.values().map(|session| session.borrow().clone()).filter(|session| wanted(session)).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_host.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Wakes whoever waits for it with each change of any session.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The session is like this now. Another one that had its host before has it no more.
    pub fn put(&self, session: Session) {
        let mut sessions = self.by_host.write().unwrap_or_else(PoisonError::into_inner);
        match sessions.get(&session.host) {
            Some(known) => {
                known.send_if_modified(|known| {
                    let differs = **known != session;
                    if differs {
                        *known = Arc::new(session);
                    }
                    differs
                });
            }
            None => {
                sessions.insert(session.host.clone(), watch::Sender::new(Arc::new(session)));
            }
        }
        self.changed.send_replace(());
    }

    /// The session of this uid is gone. Whoever has its host by now keeps it.
    pub fn remove(&self, host: &str, uid: &str) {
        let mut sessions = self.by_host.write().unwrap_or_else(PoisonError::into_inner);
        if sessions.get(host).is_some_and(|known| known.borrow().uid == uid) {
            sessions.remove(host);
            self.changed.send_replace(());
        }
    }
}

/// Returns once what was opened to a session as it was then must not stay open: the session is gone, or suspended, or has ended;
/// its desktop is another one, or its owner is.
pub async fn ends(opened: Arc<Session>, mut changes: Changes) {
    let address = |session: &Session| session.desktop.as_ref().map(|desktop| desktop.address);
    let stays = |now: &Session| {
        now.stays() && (&now.uid, &now.owner, address(now)) == (&opened.uid, &opened.owner, address(&opened))
    };
    // An error means that it is gone.
    let _ = changes.wait_for(|now| !stays(now)).await;
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use vdi_api::Phase;

    use super::*;
    use crate::{fixture::session, session::Desktop};

    #[test]
    fn a_session_is_found_at_its_host_until_it_is_gone() {
        let directory = Directory::default();
        let session = session();
        assert!(directory.at(&session.host).is_none());
        directory.put(session.clone());
        assert_eq!(**directory.at(&session.host).unwrap().borrow(), session);
        directory.remove(&session.host, "another");
        assert!(directory.at(&session.host).is_some(), "another one had this host before");
        directory.remove(&session.host, &session.uid);
        assert!(directory.at(&session.host).is_none());
    }

    #[test]
    fn what_is_open_stays_open_through_changes_that_do_not_matter_and_ends_by_each_that_does() {
        let open = || {
            let directory = Directory::default();
            directory.put(session());
            let changes = directory.at(&session().host).unwrap();
            (directory, ends(Arc::new(session()), changes))
        };
        let (directory, ends) = open();
        directory.put(session());
        directory.put(Session { ends: Some(jiff::Timestamp::UNIX_EPOCH), ..session() });
        let busy = Desktop { is_ready: false, ..session().desktop.unwrap() };
        directory.put(Session { phase: Phase::Creating, desktop: Some(busy), ..session() });
        assert!(ends.now_or_never().is_none(), "its time was raised, and its node was not heard of");
        let desktop = session().desktop.unwrap();
        for changed in [
            Session { phase: Phase::Terminating, ..session() },
            Session { phase: Phase::Pending, ..session() },
            Session { desktop: None, ..session() },
            Session { desktop: Some(Desktop { address: "10.1.2.4:6080".parse().unwrap(), ..desktop }), ..session() },
            Session { uid: "another".to_owned(), ..session() },
            Session { owner: "bob@example.com".parse().unwrap(), ..session() },
        ] {
            let (directory, ends) = open();
            directory.put(changed.clone());
            assert!(ends.now_or_never().is_some(), "{changed:?}");
        }
        let (directory, ends) = open();
        directory.remove(&session().host, &session().uid);
        assert!(ends.now_or_never().is_some(), "gone");
    }
}
