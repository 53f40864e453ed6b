//! Which session has which URL: no two live sessions ever have the same.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{
    Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use vdi_api::{Email, HostLabel, VDISession};
use vdi_planner::model::PodState;

use super::url_template::UrlTemplate;

/// The URLs that are taken.
///
/// A URL is published in its session's status, and a restarted controller learns it from there. Two sessions that are planned at
/// the same moment don't see each other's status yet, so the URLs that were given out are remembered here too.
pub struct HostClaims {
    template: UrlTemplate,
    holders: Mutex<Option<HashMap<String, Holder>>>,
}

struct Holder {
    session: ObjectRef<VDISession>,
    uid: String,
}

impl Holder {
    fn of(session: &VDISession) -> Self {
        Self { session: ObjectRef::from_obj(session), uid: session.uid().unwrap_or_default() }
    }

    fn is_live(&self, sessions: &Store<VDISession>) -> bool {
        sessions.get(&self.session).is_some_and(|session| session.meta().uid.as_ref() == Some(&self.uid))
    }
}

impl HostClaims {
    pub fn new(template: UrlTemplate) -> Self {
        Self { template, holders: Mutex::default() }
    }

    /// The session's URL; `None` while it needs the address of a pod that isn't ready yet.
    pub fn url_of(
        &self,
        session: &VDISession,
        user: &Email,
        pod: &PodState,
        port: Option<i32>,
        sessions: &Store<VDISession>,
    ) -> Option<String> {
        let published = session.status.as_ref().and_then(|status| status.url.clone());
        match pod {
            _ if !self.template.is_of_the_pod() => published.or_else(|| self.claim(session, user, sessions)),
            PodState::Ready { ip: Some(ip), .. } => port.map(|port| self.template.for_pod(ip, port)).or(published),
            _ => None,
        }
    }

    fn claim(&self, session: &VDISession, user: &Email, sessions: &Store<VDISession>) -> Option<String> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = holders.get_or_insert_with(|| published(sessions));
        if holders.len() > 2 * sessions.len() + 64 {
            holders.retain(|_, holder| holder.is_live(sessions));
        }
        let holder = Holder::of(session);
        let url = candidates(user, &holder.uid)
            .map(|label| self.template.for_user(&label))
            .find(|url| holders.get(url).is_none_or(|other| other.uid == holder.uid || !other.is_live(sessions)))?;
        holders.insert(url.clone(), holder);
        Some(url)
    }
}

/// What this controller gave out before it was restarted.
fn published(sessions: &Store<VDISession>) -> HashMap<String, Holder> {
    let sessions = sessions.state().into_iter();
    sessions.filter_map(|session| Some((session.status.as_ref()?.url.clone()?, Holder::of(&session)))).collect()
}

/// `alice`, then `alice-7f3a9`, and if that is taken too, the whole uid, which can't be.
fn candidates(user: &Email, uid: &str) -> impl Iterator<Item = HostLabel> {
    let label = HostLabel::of_user(user);
    let uid: String = uid.chars().filter(char::is_ascii_alphanumeric).collect();
    let short = label.with_suffix(&uid[..uid.len().min(5)]);
    let long = label.with_suffix(&uid[..uid.len().min(32)]);
    [label, short, long].into_iter()
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher::Event};
    use vdi_planner::fixture;

    use super::*;

    fn session(name: &str, user: &str, uid: &str) -> VDISession {
        let mut session = fixture::session(name);
        session.spec.user = user.to_owned();
        session.metadata.uid = Some(uid.to_owned());
        session
    }

    fn claims() -> HostClaims {
        HostClaims::new(UrlTemplate::DEFAULT.parse::<UrlTemplate>().unwrap().in_domain("vdi.example.com"))
    }

    fn store(sessions: &[VDISession]) -> Store<VDISession> {
        let (store, mut writer) = reflector::store();
        for session in sessions {
            writer.apply_watcher_event(&Event::Apply(session.clone()));
        }
        // The writer may go: the store keeps what it has.
        store
    }

    fn url(claims: &HostClaims, session: &VDISession, store: &Store<VDISession>) -> String {
        let user = session.spec.user.parse().unwrap();
        claims.url_of(session, &user, &PodState::Absent, Some(6080), store).unwrap()
    }

    #[test]
    fn two_live_sessions_never_get_the_same_url_and_keep_theirs() {
        let (a, b) = (session("a", "alice@one.com", "7f3a9000"), session("b", "Alice@two.com", "11111-2222"));
        let (claims, store) = (claims(), store(&[a.clone(), b.clone()]));
        for _ in 0..2 {
            assert_eq!(url(&claims, &a, &store), "https://alice.vdi.example.com");
            assert_eq!(url(&claims, &b, &store), "https://alice-11111.vdi.example.com");
        }
    }

    #[test]
    fn an_address_is_free_again_once_its_session_is_gone() {
        let (a, b) = (session("a", "alice@one.com", "1"), session("b", "alice@two.com", "2"));
        let claims = claims();
        url(&claims, &a, &store(&[a.clone(), b.clone()]));
        assert_eq!(url(&claims, &b, &store(std::slice::from_ref(&b))), "https://alice.vdi.example.com");
    }

    #[test]
    fn a_session_that_took_the_name_of_an_earlier_one_does_not_keep_its_address_alive() {
        let (old, new) = (session("a", "alice@one.com", "1"), session("a", "bob@one.com", "2"));
        let other = session("b", "alice@two.com", "3");
        let claims = claims();
        url(&claims, &old, &store(std::slice::from_ref(&old)));
        assert_eq!(url(&claims, &other, &store(&[new, other.clone()])), "https://alice.vdi.example.com");
    }

    #[test]
    fn a_restarted_controller_knows_the_addresses_from_the_statuses() {
        let mut a = session("a", "alice@one.com", "1");
        a.status.get_or_insert_default().url = Some("https://alice.vdi.example.com".to_owned());
        let b = session("b", "alice@two.com", "22222");
        let (claims, store) = (claims(), store(&[a.clone(), b.clone()]));
        assert_eq!(url(&claims, &b, &store), "https://alice-22222.vdi.example.com");
        assert_eq!(url(&claims, &a, &store), "https://alice.vdi.example.com");
    }
}
