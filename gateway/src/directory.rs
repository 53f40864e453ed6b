//! The sessions there are, by host. What is open to one learns of each change of it.

pub mod freshness;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};
use vdi_api::Email;

pub use freshness::Freshness;

use crate::session::Session;

/// A session as it is now, and as it becomes. It ends when the session is gone.
pub type Changes = watch::Receiver<Arc<Session>>;

#[derive(Debug)]
pub struct Directory {
    by_host: RwLock<HashMap<String, watch::Sender<Arc<Session>>>>,
    /// Whose session has changed.
    changed: broadcast::Sender<Arc<Email>>,
    /// How much what is here can be relied on.
    pub freshness: Freshness,
}

/// Who is that far behind looks at everything again.
const BEHIND: usize = 256;

impl Default for Directory {
    fn default() -> Self {
        let (by_host, freshness) = Default::default();
        Self { by_host, changed: broadcast::Sender::new(BEHIND), freshness }
    }
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

    /// The changes from now on of one person's sessions.
    pub fn changes_of(&self, owner: Email) -> ChangesOf {
        ChangesOf { owner, changed: self.changed.subscribe() }
    }

    /// The session is like this now. Another one that had its host before has it no more.
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
                    self.tell(&before.owner);
                }
                self.tell(&session.owner);
            }
            None => {
                self.tell(&session.owner);
                sessions.insert(session.host.clone(), watch::Sender::new(Arc::new(session)));
            }
        }
    }

    /// The session of this uid is gone. Whoever has its host by now keeps it.
    pub fn remove(&self, host: &str, uid: &str) {
        let mut sessions = self.by_host.write().unwrap_or_else(PoisonError::into_inner);
        let is_this = sessions.get(host).is_some_and(|known| known.borrow().uid == uid);
        if let Some(gone) = is_this.then(|| sessions.remove(host)).flatten() {
            self.tell(&gone.borrow().owner);
        }
    }

    fn tell(&self, owner: &Email) {
        // An error means that nobody listens.
        let _ = self.changed.send(Arc::new(owner.clone()));
    }
}

/// The changes of one person's sessions.
#[derive(Debug)]
pub struct ChangesOf {
    owner: Email,
    changed: broadcast::Receiver<Arc<Email>>,
}

impl ChangesOf {
    /// Returns with the next change, or the first that has come since. `None` once there can be no more.
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

    /// Forgets what has come so far.
    pub fn skip(&mut self) {
        self.changed = self.changed.resubscribe();
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
        (0..=BEHIND).for_each(|_| {
            directory.put(bobs.clone());
            directory.remove(&bobs.host, &bobs.uid);
        });
        assert!(changes.next().now_or_never().is_some(), "something may have been missed");
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
