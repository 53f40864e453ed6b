//! The objects that the controller watches, kept in memory, without what it never reads. One that can't be parsed is in no store:
//! it is set aside, and nothing else is affected.

mod departed;
mod kept;
pub mod lean;
pub mod lean_pod;
mod pod_summary;

use std::{fmt::Debug, future::ready, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::PersistentVolumeClaim, networking::v1::NetworkPolicy, scheduling::v1::PriorityClass},
    serde::de::DeserializeOwned,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, reflector, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use tokio::{
    sync::watch::{self, error::RecvError},
    task::AbortHandle,
};
use vdi_api::{Email, Phase, VDISession, VDISessionStatus, VDITemplate};
use vdi_service::{
    Aside, Lenient, Pause,
    aside::{Key, Told, map_event},
    lenient::{Custom, Unreadable},
};

use departed::Departed;
pub(crate) use kept::kept_of;
pub use lean_pod::LeanPod;
pub use pod_summary::{Owner, PodSummary};

use crate::{
    capacity::NodeSize, metrics::Counters, observe::Spec, queue::Queue, resources::OURS, template::Template,
    volume::LeanEvent,
};

/// Before an interrupted watch is begun again.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

#[derive(Clone, Debug)]
pub struct Stores {
    pub sessions: Store<VDISession>,
    pub templates: Store<VDITemplate>,
    pub pods: Store<PodSummary>,
    pub departed: Arc<Departed>,
    /// The homes that this controller made.
    pub claims: Store<PersistentVolumeClaim>,
    pub policies: Store<NetworkPolicy>,
    pub priorities: Store<PriorityClass>,
    pub nodes: Store<NodeSize>,
    /// What of all these kinds could not be parsed. It exists all the same: a session among it still owns its pod.
    pub aside: Arc<Aside>,
    /// How many of them have seen the whole of what they watch.
    complete: watch::Receiver<usize>,
    watches: Arc<[AbortHandle]>,
}

/// The sessions that a touched object has to do with.
type Concerns<K> = fn(&K, &Store<VDISession>) -> Vec<ObjectRef<VDISession>>;

/// Fills the stores from now on, and the queue once it is open. A standby's are filled too, so that it can take over at once.
pub fn watch(client: &Client, queue: &Arc<Queue>, counters: &Counters) -> Stores {
    let (complete, completed) = watch::channel(0);
    let (sessions, session_writer) = reflector::store();
    let (templates, template_writer) = reflector::store();
    let (pods, pod_writer) = reflector::store();
    let (claims, claim_writer) = reflector::store();
    let (policies, policy_writer) = reflector::store();
    let (priorities, priority_writer) = reflector::store();
    let (nodes, node_writer) = reflector::store();
    let departed = Arc::<Departed>::default();
    let pods_of = sessions.clone();
    let noted = departed.clone();
    let note = move |event: &Event<PodSummary>| noted.note(event, &pods_of);
    let (queue_of_missed, sessions_of_missed) = (queue.clone(), sessions.clone());
    let missed = move |event: &Event<PersistentVolumeClaim>| {
        if let Event::Delete(claim) = event {
            queue_of_missed.add(waiting_for_nodes(claim, &sessions_of_missed));
        }
    };
    let aside = Arc::<Aside>::default();
    // Which are only listed, now and then.
    aside.expect::<LeanEvent>();
    let watch = Watch {
        client: client.clone(),
        sessions: sessions.clone(),
        aside: aside.clone(),
        complete: Arc::new(complete),
        queue: queue.clone(),
        counters: counters.clone(),
    };
    let everything = watcher::Config::default();
    let ours = watcher::Config::default().labels(OURS);
    let watches = [
        watch.clone().spawn(session_writer, everything.clone(), lean::session, |_| (), itself),
        watch.clone().spawn(template_writer, everything.clone(), lean::template, |_| (), waiting_for),
        watch.clone().spawn(priority_writer, everything.clone(), lean::priority, |_| (), nobody),
        watch.clone().spawn(node_writer, everything, lean::node, |_| (), nobody),
        watch.clone().spawn(pod_writer, ours.clone(), |lean: LeanPod| lean.into(), note, owners),
        watch.clone().spawn(claim_writer, ours.clone(), lean::claim, missed, nobody),
        watch.spawn(policy_writer, ours, lean::policy, |_| (), in_its_namespace),
    ];
    Stores {
        sessions,
        templates,
        pods,
        departed,
        claims,
        policies,
        priorities,
        nodes,
        aside,
        complete: completed,
        watches: watches.into(),
    }
}

#[derive(Clone)]
struct Watch {
    client: Client,
    sessions: Store<VDISession>,
    aside: Arc<Aside>,
    complete: Arc<watch::Sender<usize>>,
    queue: Arc<Queue>,
    counters: Counters,
}

impl Watch {
    /// Keeps of each `Read` that comes the `Kept` that is made of it. `before` sees it before the store does.
    fn spawn<Read, Kept>(
        self,
        writer: Writer<Kept>,
        config: watcher::Config,
        trim: fn(Read) -> Kept,
        before: impl Fn(&Event<Kept>) + Send + 'static,
        concerns: Concerns<Kept>,
    ) -> AbortHandle
    where
        Read: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
        Kept: reflector::Lookup<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        self.aside.expect::<Read>();
        #[expect(clippy::disallowed_methods, reason = "what is watched is Lenient")]
        let events = watcher(Api::<Lenient<Read>>::all(self.client.clone()), config);
        let (known, watch) = (writer.as_reader(), self.clone());
        let readable = move |event| {
            let event = match watch.aside.sort(event)? {
                Told::Event(event) => map_event(event, trim),
                // No pod has gone, so nobody is told that one has.
                Told::Unknown(key) => return watch.unknown(key, &known),
            };
            before(&event);
            Some(event)
        };
        let events = events.backoff(Pause::up_to(LONGEST_PAUSE));
        let events = reflector(writer, events.try_filter_map(move |event| ready(Ok(readable(event)))));
        let mut is_complete = false;
        let mut handle = move |event: watcher::Result<Event<Kept>>| match event {
            Ok(Event::Apply(object) | Event::Delete(object)) => self.queue.add(concerns(&object, &self.sessions)),
            // They aren't in the store yet.
            Ok(Event::Init | Event::InitApply(_)) => {}
            Ok(Event::InitDone) if !is_complete => {
                is_complete = true;
                // Behind the store: what is complete here is complete there.
                self.complete.send_modify(|stores| *stores += 1);
            }
            // Read anew after an interruption. What was deleted meanwhile makes no event, so every session may be concerned.
            Ok(Event::InitDone) => self.queue.add(all(&self.sessions)),
            Err(error) => {
                self.counters.watch_interrupted();
                tracing::warn!(%error, kind = %Kept::kind(&()), "a watch was interrupted and goes on");
            }
        };
        let handled = events.for_each(move |event| {
            handle(event);
            ready(())
        });
        tokio::spawn(handled).abort_handle()
    }

    /// What was known of an object that can't be read any more leaves its store. Whom it concerns may stand in what can't be read.
    fn unknown<Kept>(&self, (namespace, name): Key, known: &Store<Kept>) -> Option<Event<Kept>>
    where
        Kept: reflector::Lookup<DynamicType = ()> + Clone + 'static,
    {
        let is_concerned =
            |session: &ObjectRef<VDISession>| namespace.is_empty() || session.namespace.as_ref() == Some(&namespace);
        self.queue.add(all(&self.sessions).into_iter().filter(is_concerned));
        let object = ObjectRef::new(&name);
        let object = if namespace.is_empty() { object } else { object.within(&namespace) };
        known.get(&object).map(|known| Event::Delete((*known).clone()))
    }
}

impl Stores {
    const COUNT: usize = 7;

    /// Returns once every store has seen the whole of what it watches. Planning before that would take what hasn't been
    /// read yet for something that doesn't exist.
    ///
    /// Not by [`Store::wait_until_ready`]: of several that wait for the same store, kube 5.0 wakes only the last.
    pub async fn wait_until_complete(&self) -> Result<(), RecvError> {
        self.complete.clone().wait_for(|stores| *stores == Self::COUNT).await.map(drop)
    }

    pub fn are_complete(&self) -> bool {
        *self.complete.borrow() == Self::COUNT
    }

    /// Whether there are nodes for a session's pod, and none of them is large enough, as they are now.
    pub fn fits_nowhere(&self, spec: &Spec, template: &Template) -> bool {
        let nodes = self.nodes.state();
        let mut selected = nodes.iter().filter(|node| node.is_selected_by(template)).peekable();
        selected.peek().is_some() && !selected.any(|node| node.could_hold(spec, template))
    }

    /// A desktop of this user's whose session is gone, while it holds GPUs. The budgets of the admission policy count sessions.
    pub fn former_desktop(&self, user: &Email, now: Timestamp) -> Option<Arc<PodSummary>> {
        self.pods.find(|pod| {
            let is_theirs = pod.user.as_deref() == Some(user.as_str()) && pod.holds_gpus(now);
            is_theirs && !pod.owners.iter().any(|owner| self.has_session(&pod.namespace, owner))
        })
    }

    /// Whether this very session is there. One that can't be read is there too.
    pub fn has_session(&self, namespace: &str, owner: &Owner) -> bool {
        let session = self.sessions.get(&ObjectRef::new(&owner.name).within(namespace));
        let is_aside = || self.aside.get::<Custom<VDISession>>(namespace, &owner.name).is_some();
        session.map_or_else(is_aside, |session| session.metadata.uid.as_ref() == Some(&owner.uid))
    }

    /// The value of a priority class; without a name, of the cluster's default.
    pub fn priority(&self, class: Option<&str>) -> i32 {
        let class = match class {
            Some(name) => self.priorities.get(&ObjectRef::new(name)),
            None => self.priorities.find(|class| class.global_default == Some(true)),
        };
        class.map_or(0, |class| class.value)
    }

    /// A template of this name that can't be parsed.
    pub fn unreadable_template(&self, name: &str) -> Option<Unreadable> {
        self.aside.get::<Custom<VDITemplate>>("", name)
    }

    /// Whether all of them are still being filled.
    pub fn are_watched(&self) -> bool {
        self.watches.iter().all(|watch| !watch.is_finished())
    }
}

/// Every session there is.
pub fn all(sessions: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    sessions.state().iter().map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

fn itself(session: &VDISession, _: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    vec![ObjectRef::from_obj(session)]
}

fn owners(pod: &PodSummary, _: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    pod.owners.iter().map(|owner| ObjectRef::new(&owner.name).within(&pod.namespace)).collect()
}

/// The sessions that a new or changed template may set going: those without a pod.
fn waiting_for(template: &VDITemplate, sessions: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    let name = template.name_any();
    let has_pod = |session: &VDISession| session.status.as_ref().is_some_and(|status| status.pod_name.is_some());
    let sessions = sessions.state().into_iter();
    let waiting = sessions.filter(|session| session.spec.template == name && !has_pod(session));
    waiting.map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

/// Somebody may have changed what protects them.
fn in_its_namespace(policy: &NetworkPolicy, sessions: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    let sessions = sessions.state().into_iter().filter(|session| session.namespace() == policy.namespace());
    sessions.map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

/// The sessions that may miss a home which is gone: those whose pod waits for a node. Others have it mounted, or make it.
fn waiting_for_nodes(claim: &PersistentVolumeClaim, sessions: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    let waits = |session: &VDISession| {
        let is_pending = |status: &VDISessionStatus| status.phase == Phase::Pending && status.pod_name.is_some();
        session.namespace() == claim.namespace() && session.status.as_ref().is_some_and(is_pending)
    };
    let sessions = sessions.state().into_iter().filter(|session| waits(session));
    sessions.map(|session| ObjectRef::from_obj(session.as_ref())).collect()
}

fn nobody<K>(_: &K, _: &Store<VDISession>) -> Vec<ObjectRef<VDISession>> {
    Vec::new()
}
