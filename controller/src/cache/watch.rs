use std::{fmt::Debug, future::ready, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{api::core::v1::PersistentVolumeClaim, serde::de::DeserializeOwned};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, reflector, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::watch, task::AbortHandle};
use vdi_api::{VDISession, VDITemplate, desktop_pod::MANAGED_BY_SELECTOR};
use vdi_service::{
    Aside, Lenient, Needs, Pause,
    aside::{Key, Sorted, map_event},
    trouble,
};

use super::{
    concerns::{Concerns, all, in_its_namespace, itself, nobody, owners, waiting_for, waiting_for_nodes},
    other_pods::OtherPods,
    partial::{self, PartialEvent},
    partial_pod::PartialPod,
    pod_summary::PodSummary,
    stores::Stores,
    termination_reasons::TerminationReasons,
    workqueue::Workqueue,
};
use crate::telemetry::Counters;

/// The longest pause before an interrupted watch resumes.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// Starts to fill the stores, and the queue once it is open. A standby's stores are filled too, so that it can take over at once.
pub fn watch(client: &Client, queue: &Arc<Workqueue>, counters: &Counters, needs: &Needs) -> Stores {
    let (complete, completed) = watch::channel(0);
    let (sessions, session_writer) = reflector::store();
    let (templates, template_writer) = reflector::store();
    let (pods, pod_writer) = reflector::store();
    let (claims, claim_writer) = reflector::store();
    let (policies, policy_writer) = reflector::store();
    let (priorities, priority_writer) = reflector::store();
    let (nodes, node_writer) = reflector::store();
    let termination_reasons = Arc::<TerminationReasons>::default();
    let pods_of = sessions.clone();
    let reasons = termination_reasons.clone();
    let note = move |event: &Event<PodSummary>| reasons.note(event, &pods_of);
    let (queue_of_missed, sessions_of_missed) = (queue.clone(), sessions.clone());
    let missed = move |event: &Event<PersistentVolumeClaim>| {
        if let Event::Delete(claim) = event {
            queue_of_missed.add(waiting_for_nodes(claim, &sessions_of_missed));
        }
    };
    let (queue_of_respecified, sessions_of_respecified) = (queue.clone(), sessions.clone());
    let templates_before = templates.clone();
    // The status of a template changes as often as sessions come and go, and concerns none of them.
    let respecified = move |event: &Event<VDITemplate>| {
        let is_new = match event {
            Event::Apply(template) => !is_specified_as(template, &templates_before),
            Event::Delete(_) => true,
            _ => false,
        };
        if let Event::Apply(template) | Event::Delete(template) = event
            && is_new
        {
            queue_of_respecified.add(waiting_for(template, &sessions_of_respecified));
        }
    };
    let (other_pods, others_watch) = OtherPods::watch(client, counters, LONGEST_PAUSE);
    let aside = Arc::<Aside>::default();
    // Events aren't watched, but listed when a home has no volume.
    aside.expect::<PartialEvent>();
    let watch = Watch {
        client: client.clone(),
        sessions: sessions.clone(),
        aside: aside.clone(),
        complete: Arc::new(complete),
        queue: queue.clone(),
        counters: counters.clone(),
        needs: needs.clone(),
    };
    let everything = watcher::Config::default();
    let ours = watcher::Config::default().labels(MANAGED_BY_SELECTOR);
    let watches = [
        watch.clone().spawn(session_writer, everything.clone(), partial::session, |_| (), itself),
        watch.clone().spawn(template_writer, everything.clone(), partial::template, respecified, nobody),
        watch.clone().spawn(priority_writer, everything.clone(), partial::priority, |_| (), nobody),
        watch.clone().spawn(node_writer, everything, partial::node, |_| (), nobody),
        watch.clone().spawn(pod_writer, ours.clone(), |pod: PartialPod| pod.into(), note, owners),
        watch.clone().spawn(claim_writer, ours.clone(), partial::claim, missed, nobody),
        watch.spawn(policy_writer, ours, partial::policy, |_| (), in_its_namespace),
        others_watch,
    ];
    Stores {
        sessions,
        templates,
        pods,
        termination_reasons,
        claims,
        policies,
        priorities,
        nodes,
        other_pods,
        aside,
        complete: completed,
        watches: watches.into(),
    }
}

/// Whether the template of this name is the same, and its spec has not changed.
fn is_specified_as(template: &VDITemplate, known: &Store<VDITemplate>) -> bool {
    let version = |template: &VDITemplate| (template.metadata.uid.clone(), template.metadata.generation);
    known.get(&ObjectRef::from_obj(template)).is_some_and(|before| version(&before) == version(template))
}

#[derive(Clone)]
struct Watch {
    client: Client,
    sessions: Store<VDISession>,
    aside: Arc<Aside>,
    complete: Arc<watch::Sender<usize>>,
    queue: Arc<Workqueue>,
    counters: Counters,
    needs: Needs,
}

impl Watch {
    /// Keeps, of each `Read` that the watch brings, the `Kept` that `trim` makes of it. `before` is called before the store changes.
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
                Sorted::Event(event) => map_event(event, trim),
                // Not a deletion: `before` must not see one.
                Sorted::Unknown(key) => return watch.unknown(key, &known),
            };
            before(&event);
            Some(event)
        };
        let events = events.backoff(Pause::up_to(LONGEST_PAUSE));
        let events = reflector(writer, events.try_filter_map(move |event| ready(Ok(readable(event)))));
        let mut is_complete = false;
        let need = self.needs.announce(Read::plural(&()));
        let mut handle = move |event: watcher::Result<Event<Kept>>| match event {
            Ok(Event::Apply(object) | Event::Delete(object)) => {
                need.is_met();
                self.queue.add(concerns(&object, &self.sessions));
            }
            // Not in the store until InitDone.
            Ok(Event::Init | Event::InitApply(_)) => {}
            Ok(Event::InitDone) if !is_complete => {
                is_complete = true;
                // This runs behind the store, which is therefore filled.
                self.complete.send_modify(|stores| *stores += 1);
                need.is_met();
            }
            // Listed again after an interruption. What was deleted meanwhile makes no event, so this may concern every session.
            Ok(Event::InitDone) => {
                need.is_met();
                self.queue.add(all(&self.sessions));
            }
            Err(error) => {
                self.counters.watch_interrupted();
                need.lacks(&trouble::of_watch::<Read>(&error));
            }
        };
        let handled = events.for_each(move |event| {
            handle(event);
            ready(())
        });
        tokio::spawn(handled).abort_handle()
    }

    /// Removes from its store what was known of an object that can no longer be parsed. Which session it concerns may be in the part
    /// that can't be parsed, so all of its namespace get a pass.
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
