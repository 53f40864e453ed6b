//! Fills the directory from the API server's sessions and pods.

mod known;

use std::{collections::HashMap, fmt::Debug, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future::Either, stream};
use k8s_openapi::{api::core::v1::Pod, serde::de::DeserializeOwned};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use vdi_api::{
    VDISession,
    desktop_pod::{OURS, pod_name},
};
use vdi_service::{LoginKeys, Pause, Reach};

use self::known::{Key, Known};
use crate::{
    activity::Activity,
    directory::Directory,
    session::{DesktopPod, Session},
    site::PublicUrl,
};

/// What the directory is made of.
pub struct Watcher {
    public: PublicUrl,
    reach: Reach,
    login_keys: LoginKeys,
    directory: Arc<Directory>,
    activity: Arc<Activity>,
    sessions: Known<VDISession>,
    pods: Known<DesktopPod>,
    /// What of each session is in the directory: its host and its uid.
    listed: HashMap<Key, (String, String)>,
}

/// A watch is begun anew so often, in seconds: one that has silently stopped is noticed within this time.
const RENEWAL: u32 = 60;
/// Before an interrupted watch is begun again: until then, new decisions are made on what was.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection on which nothing has come for so long is broken.
pub const WATCH_PATIENCE: Duration = Duration::from_secs(RENEWAL as u64 + 10);

impl Watcher {
    pub fn new(
        public: PublicUrl,
        reach: Reach,
        login_keys: LoginKeys,
        directory: Arc<Directory>,
        activity: Arc<Activity>,
    ) -> Self {
        let (sessions, pods, listed) = (Known::default(), Known::default(), HashMap::new());
        Self { public, reach, login_keys, directory, activity, sessions, pods, listed }
    }

    /// Keeps the directory up to date. Never returns.
    pub async fn run(mut self, client: Client) {
        let everything = watcher::Config::default().timeout(RENEWAL);
        let ours = everything.clone().labels(OURS);
        let sessions = events::<VDISession>(&client, everything).map(Either::Left);
        let pods = events::<Pod>(&client, ours).map(Either::Right);
        let mut events = stream::select(sessions, pods);
        while let Some(event) = events.next().await {
            match event {
                Either::Left(Ok(event)) => self.session_event(event),
                Either::Right(Ok(event)) => self.pod_event(event),
                Either::Left(Err(error)) | Either::Right(Err(error)) => {
                    tracing::warn!(%error, "a watch was interrupted and goes on");
                }
            }
        }
    }

    fn session_event(&mut self, event: Event<VDISession>) {
        let touched = self.sessions.take(event, |session| {
            let key = (session.namespace().unwrap_or_default(), session.name_any());
            (key, session)
        });
        self.update(touched);
    }

    fn pod_event(&mut self, event: Event<Pod>) {
        let reach = &self.reach;
        let touched = self.pods.take(event, |pod| {
            let pod = DesktopPod::of(&pod, reach);
            ((pod.namespace.clone(), pod.name.clone()), pod)
        });
        let prefix = pod_name("");
        let session = |(namespace, pod): Key| Some((namespace, pod.strip_prefix(&prefix)?.to_owned()));
        self.update(touched.into_iter().filter_map(session).collect());
    }

    /// Lists these sessions as they are now.
    fn update(&mut self, touched: Vec<Key>) {
        if !(self.sessions.is_complete() && self.pods.is_complete()) {
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
        let session =
            self.sessions.get(&key).and_then(|session| Session::of(session, pod, &self.public, &self.login_keys));
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
            self.directory.put(session);
        }
    }
}

fn events<K>(client: &Client, config: watcher::Config) -> impl Stream<Item = watcher::Result<Event<K>>> + Unpin + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher(Api::all(client.clone()), config).backoff(Pause::up_to(LONGEST_PAUSE)).boxed()
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

    fn pod() -> Pod {
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
        (Watcher::new(public, Reach::default(), LoginKeys::default(), directory.clone(), activity), directory)
    }

    /// One that has read everything: a session and its pod.
    fn complete() -> (Watcher, Arc<Directory>) {
        let (mut watcher, directory) = watcher();
        watcher.session_event(Event::Init);
        watcher.session_event(Event::InitApply(session("1", ALICES)));
        watcher.session_event(Event::InitDone);
        assert!(directory.at(ALICES).is_none() && !directory.freshness.is_complete(), "pods are not known yet");
        watcher.pod_event(Event::Init);
        watcher.pod_event(Event::InitApply(pod()));
        watcher.pod_event(Event::InitDone);
        assert!(directory.freshness.is_complete());
        (watcher, directory)
    }

    #[test]
    fn a_session_is_listed_with_its_pod_once_both_are_known() {
        let (_, directory) = complete();
        assert!(directory.at(ALICES).unwrap().borrow().desktop.is_some());
    }

    #[test]
    fn each_change_of_a_session_or_its_pod_shows_at_once() {
        let (mut watcher, directory) = complete();
        watcher.pod_event(Event::Delete(pod()));
        assert_eq!(directory.at(ALICES).unwrap().borrow().desktop, None);
        watcher.pod_event(Event::Apply(pod()));
        assert!(directory.at(ALICES).unwrap().borrow().desktop.is_some());
        watcher.session_event(Event::Apply(session("1", "alice-2.vdi.example.com")));
        assert!(directory.at(ALICES).is_none(), "it has another host");
        assert!(directory.at("alice-2.vdi.example.com").is_some());
        watcher.session_event(Event::Delete(session("1", "alice-2.vdi.example.com")));
        assert!(directory.at("alice-2.vdi.example.com").is_none());
    }

    #[test]
    fn what_went_while_a_watch_was_interrupted_is_gone_afterwards() {
        let (mut watcher, directory) = complete();
        watcher.session_event(Event::Init);
        assert!(directory.at(ALICES).is_some(), "until everything has been read again");
        watcher.session_event(Event::InitDone);
        assert!(directory.at(ALICES).is_none());
    }

    #[test]
    fn a_session_that_was_made_again_is_another_one_without_a_desktop_yet() {
        let (mut watcher, directory) = complete();
        let before = directory.at(ALICES).unwrap();
        watcher.session_event(Event::Apply(session("2", ALICES)));
        let now = directory.at(ALICES).unwrap().borrow().clone();
        assert_eq!((&*now.uid, &now.desktop), ("2", &None), "the pod is the first one's");
        assert!(before.has_changed().is_err(), "what was open to the first one ends");
    }
}
