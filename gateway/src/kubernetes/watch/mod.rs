//! Fills the directory from the sessions and pods in the API server.

mod store;
mod stream;

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, future::Either};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::ObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use vdi_api::{
    VDISession,
    desktop_pod::{MANAGED_BY_SELECTOR, pod_name},
};
use vdi_service::{
    Aside, Lenient, LoginKeys, Need, Needs, Pause, Reach, Shared,
    aside::{Sorted, map_event},
    lenient::Custom,
    trouble,
};

use self::{
    store::{Key, Store},
    stream::WatchItem,
};
use crate::{
    activity::Activity,
    request::PublicUrl,
    sessions::{DesktopPod, Directory, PartialPod, Session, Source},
};

/// Watches sessions and pods, and keeps the directory up to date.
pub struct Watcher {
    public: PublicUrl,
    reach: Reach,
    login_keys: Shared<LoginKeys>,
    directory: Arc<Directory>,
    activity: Arc<Activity>,
    aside: Arc<Aside>,
    sessions: Store<VDISession>,
    pods: Store<DesktopPod>,
    /// The host and the uid under which each session is in the directory.
    listed: HashMap<Key, (String, String)>,
}

/// Before an interrupted watch starts again. Until then, decisions are made on old data.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection on which nothing arrives for this long is broken. All watches end earlier.
pub const WATCH_PATIENCE: Duration = Duration::from_secs(70);

impl Watcher {
    pub fn new(
        public: PublicUrl,
        reach: Reach,
        login_keys: Shared<LoginKeys>,
        directory: Arc<Directory>,
        activity: Arc<Activity>,
        aside: Arc<Aside>,
    ) -> Self {
        let (sessions, pods, listed) = (Store::default(), Store::default(), HashMap::new());
        Self { public, reach, login_keys, directory, activity, aside, sessions, pods, listed }
    }

    /// Never returns.
    pub async fn run(mut self, client: Client, needs: Needs) {
        let needed = [needs.announce("vdisessions"), needs.announce("pods")];
        let sessions = watch::<Custom<VDISession>>(&client, None, &self.aside).map(Either::Left);
        let pods = watch::<PartialPod>(&client, Some(MANAGED_BY_SELECTOR), &self.aside).map(Either::Right);
        let mut items = futures::stream::select(sessions, pods);
        loop {
            tokio::select! {
                item = items.next() => match item {
                    Some(item) => self.item(item, &needed),
                    None => return,
                },
                () = changed(&mut self.login_keys) => self.update(self.sessions.keys()),
            }
        }
    }

    fn item(&mut self, item: Either<Item<Custom<VDISession>>, Item<PartialPod>>, [sessions, pods]: &[Need; 2]) {
        match item {
            Either::Left(Ok(item)) => {
                self.directory.freshness.record(Source::Sessions, Instant::now());
                self.session_item(item);
                if self.sessions.is_complete() {
                    sessions.is_met();
                }
            }
            Either::Right(Ok(item)) => {
                self.directory.freshness.record(Source::Pods, Instant::now());
                self.pod_item(item);
                if self.pods.is_complete() {
                    pods.is_met();
                }
            }
            Either::Left(Err(error)) => sessions.lacks(&trouble::of_watch::<Custom<VDISession>>(&error)),
            Either::Right(Err(error)) => pods.lacks(&trouble::of_watch::<PartialPod>(&error)),
        }
    }

    fn session_item(&mut self, item: WatchItem<Lenient<Custom<VDISession>>>) {
        let WatchItem::Event(event) = item else { return };
        match self.aside.sort(event) {
            Some(Sorted::Event(event)) => self.session_event(map_event(event, trimmed)),
            Some(Sorted::Unknown(key)) => {
                self.sessions.remove(&key);
                self.update(vec![key]);
            }
            None => {}
        }
    }

    fn pod_item(&mut self, item: WatchItem<Lenient<PartialPod>>) {
        let WatchItem::Event(event) = item else { return };
        match self.aside.sort(event) {
            Some(Sorted::Event(event)) => self.pod_event(event),
            Some(Sorted::Unknown(key)) => {
                self.pods.remove(&key);
                self.update(session_of(key).into_iter().collect());
            }
            None => {}
        }
    }

    fn session_event(&mut self, event: Event<VDISession>) {
        let touched = self.sessions.apply(event, |session| {
            let key = (session.namespace().unwrap_or_default(), session.name_any());
            (key, session)
        });
        self.update(touched);
    }

    fn pod_event(&mut self, event: Event<PartialPod>) {
        let reach = &self.reach;
        let touched = self.pods.apply(event, |pod| {
            let pod = DesktopPod::of(&pod, reach);
            ((pod.namespace.clone(), pod.name.clone()), pod)
        });
        self.update(touched.into_iter().filter_map(session_of).collect());
    }

    /// Updates these sessions in the directory.
    fn update(&mut self, touched: Vec<Key>) {
        let has_keys = self.login_keys.borrow().is_some();
        if !(self.sessions.is_complete() && self.pods.is_complete() && has_keys) {
            return;
        }
        if !self.directory.freshness.is_complete() {
            self.sessions.keys().into_iter().for_each(|key| self.list(key));
            self.directory.freshness.complete();
        }
        touched.into_iter().for_each(|key| self.list(key));
    }

    fn list(&mut self, key: Key) {
        let pod = self.pods.get(&(key.0.clone(), pod_name(&key.1)));
        let session = {
            let (keys, none) = (self.login_keys.borrow(), LoginKeys::default());
            let keys = keys.as_ref().unwrap_or(&none);
            self.sessions.get(&key).and_then(|session| Session::of(session, pod, &self.public, keys))
        };
        let now = session.as_ref().map(|session| (session.host.clone(), session.uid.clone()));
        let before = match &now {
            Some(now) => self.listed.insert(key, now.clone()),
            None => self.listed.remove(&key),
        };
        if let Some((host, uid)) = before.filter(|before| now.as_ref() != Some(before)) {
            self.directory.remove(&host, &uid);
            if now.is_none_or(|(_, new)| new != uid) {
                self.activity.forget(&uid);
            }
        }
        if let Some(session) = session {
            self.tell_obstacle(&session);
            self.directory.put(session);
        }
    }

    /// Once, for whoever runs the cluster.
    fn tell_obstacle(&self, session: &Session) {
        let known = self.directory.by_host(&session.host).and_then(|known| known.borrow().obstacle.clone());
        if let Some(obstacle) = session.obstacle.as_ref().filter(|obstacle| known.as_ref() != Some(*obstacle)) {
            let Session { namespace, name, .. } = session;
            tracing::warn!(session = name, namespace, "the desktop can't be opened: {obstacle}");
        }
    }
}

/// Without annotations and labels, which nothing reads.
fn trimmed(Custom { metadata, spec, status }: Custom<VDISession>) -> VDISession {
    VDISession { metadata: ObjectMeta { annotations: None, labels: None, ..metadata }, spec, status }
}

/// The session that a pod belongs to, by the pod's name.
fn session_of((namespace, pod): Key) -> Option<Key> {
    Some((namespace, pod.strip_prefix(&pod_name(""))?.to_owned()))
}

/// Returns when there are other keys; never, if there can't be.
async fn changed(keys: &mut Shared<LoginKeys>) {
    if keys.changed().await.is_err() {
        std::future::pending().await
    }
}

type Item<K> = watcher::Result<WatchItem<Lenient<K>>>;

fn watch<K>(client: &Client, labels: Option<&str>, aside: &Aside) -> impl Stream<Item = Item<K>> + Unpin + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    aside.expect::<K>();
    stream::watch(Api::all(client.clone()), labels).backoff(Pause::up_to(LONGEST_PAUSE)).boxed()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(uid: &str, host: &str) -> VDISession {
        serde_json::from_value(json!({
            "apiVersion": "vdi.kasm.io/v1alpha1",
            "kind": "VDISession",
            "metadata": { "namespace": "team", "name": "a", "uid": uid },
            "spec": { "user": "alice@example.com", "template": "t" },
            "status": { "phase": "Running", "url": format!("https://{host}") },
        }))
        .unwrap()
    }

    fn pod() -> PartialPod {
        serde_json::from_value(json!({
            "metadata": {
                "namespace": "team",
                "name": "vdi-a",
                "annotations": { "vdi.kasm.io/port": "6080", "vdi.kasm.io/protocol": "http" },
                "ownerReferences": [{ "apiVersion": "vdi.kasm.io/v1alpha1", "kind": "VDISession", "name": "a", "uid": "1" }],
            },
            "spec": { "containers": [] },
            "status": { "podIP": "10.1.2.3", "conditions": [{ "type": "Ready", "status": "True" }] },
        }))
        .unwrap()
    }

    const ALICES: &str = "alice.vdi.example.com";

    fn watcher() -> (Watcher, Arc<Directory>) {
        let directory = Arc::<Directory>::default();
        let activity = Arc::<Activity>::default();
        let public = "https://vdi.example.com".parse().unwrap();
        let (_, keys) = tokio::sync::watch::channel(Some(LoginKeys::default()));
        (Watcher::new(public, Reach::default(), keys, directory.clone(), activity, Arc::default()), directory)
    }

    /// A watcher that has read everything: a session and its pod.
    fn complete() -> (Watcher, Arc<Directory>) {
        let (mut watcher, directory) = watcher();
        watcher.session_event(Event::Init);
        watcher.session_event(Event::InitApply(session("1", ALICES)));
        watcher.session_event(Event::InitDone);
        assert!(directory.by_host(ALICES).is_none() && !directory.freshness.is_complete(), "pods are not known yet");
        watcher.pod_event(Event::Init);
        watcher.pod_event(Event::InitApply(pod()));
        watcher.pod_event(Event::InitDone);
        assert!(directory.freshness.is_complete());
        (watcher, directory)
    }

    #[test]
    fn a_session_is_listed_with_its_pod_once_both_are_known() {
        let (_, directory) = complete();
        assert!(directory.by_host(ALICES).unwrap().borrow().desktop.is_some());
    }

    #[test]
    fn each_change_of_a_session_or_its_pod_shows_at_once() {
        let (mut watcher, directory) = complete();
        watcher.pod_event(Event::Delete(pod()));
        assert_eq!(directory.by_host(ALICES).unwrap().borrow().desktop, None);
        watcher.pod_event(Event::Apply(pod()));
        assert!(directory.by_host(ALICES).unwrap().borrow().desktop.is_some());
        watcher.session_event(Event::Apply(session("1", "alice-2.vdi.example.com")));
        assert!(directory.by_host(ALICES).is_none(), "it has another host");
        assert!(directory.by_host("alice-2.vdi.example.com").is_some());
        watcher.session_event(Event::Delete(session("1", "alice-2.vdi.example.com")));
        assert!(directory.by_host("alice-2.vdi.example.com").is_none());
    }

    #[test]
    fn what_was_deleted_while_a_watch_was_interrupted_is_gone_afterwards() {
        let (mut watcher, directory) = complete();
        watcher.session_event(Event::Init);
        assert!(directory.by_host(ALICES).is_some(), "until everything has been read again");
        watcher.session_event(Event::InitDone);
        assert!(directory.by_host(ALICES).is_none());
    }

    #[test]
    fn a_recreated_session_is_a_new_one_without_a_desktop() {
        let (mut watcher, directory) = complete();
        let before = directory.by_host(ALICES).unwrap();
        watcher.session_event(Event::Apply(session("2", ALICES)));
        let now = directory.by_host(ALICES).unwrap().borrow().clone();
        assert_eq!((&*now.uid, &now.desktop), ("2", &None), "the pod is the first one's");
        assert!(before.has_changed().is_err(), "what was open to the first one ends");
    }
}
