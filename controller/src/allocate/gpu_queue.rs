//! Who is next when GPUs are short: first come, first served, within a priority.
//!
//! The scheduler keeps no such order. So once a pod finds no GPU, its queue is closed: only the first session in it has a pod, which
//! waits for the scheduler, and the others get theirs in turn.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use vdi_api::VDISession;
use vdi_planner::model::{GpuSource, Place, Template, Wait};

/// What the sessions of one queue compete for: the same GPUs on the same nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueKey {
    gpus: String,
    namespace: String,
}

impl QueueKey {
    /// `None` where somebody else keeps a queue: [Kueue] has its own order.
    ///
    /// [Kueue]: https://kueue.sigs.k8s.io/docs/tasks/run/plain_pods/
    pub fn of(template: &Template, namespace: &str) -> Option<Self> {
        if template.pod_labels.contains_key("kueue.x-k8s.io/queue-name") {
            return None;
        }
        // Claim templates of the same name in two namespaces may differ.
        let namespace = if matches!(template.gpu, GpuSource::ClaimTemplate(_)) { namespace } else { "" };
        let Template { gpu, node_selector, tolerations, .. } = template;
        let gpus = format!("{gpu:?} {node_selector:?} {tolerations:?}");
        Some(Self { gpus, namespace: namespace.to_owned() })
    }
}

/// Whether it is GPUs that the scheduler finds too few of. [Its message] has been the same for years.
///
/// [Its message]: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#my-pods-are-pending-with-event-message-failedscheduling
pub fn is_short_of_gpus(wait: &Wait, gpu: &GpuSource) -> bool {
    let Wait::Node(message) = wait else { return false };
    match gpu {
        GpuSource::ExtendedResource(name) => message.contains(&format!("Insufficient {name}")),
        GpuSource::ClaimTemplate(_) => message.contains("cannot allocate all claims"),
    }
}

/// The order in a queue: by priority, then by time. The uid makes it total.
type Order = (Reverse<i32>, Timestamp, String);

/// A session that waits for GPUs.
pub struct Waiting {
    pub session: ObjectRef<VDISession>,
    pub uid: String,
    pub queue: QueueKey,
    /// Whether others may overtake it: it can't have a pod for now, for a reason of its own.
    pub is_passed_by: bool,
    pub priority: i32,
    /// Since when, unless it is in the queue already.
    pub since: Timestamp,
    /// Whether its pod shows that there are too few GPUs.
    pub is_short_of_gpus: bool,
}

#[derive(Default)]
pub struct GpuQueues(Mutex<State>);

#[derive(Default)]
struct State {
    queues: HashMap<QueueKey, Queue>,
    places: HashMap<ObjectRef<VDISession>, (QueueKey, Order)>,
}

#[derive(Default)]
struct Queue {
    waiting: BTreeMap<Order, Member>,
    is_closed: bool,
}

struct Member {
    session: ObjectRef<VDISession>,
    is_passed_by: bool,
}

impl Queue {
    /// The session whose turn it is.
    fn first(&self) -> Option<(&Order, &ObjectRef<VDISession>)> {
        let (order, member) = self.waiting.iter().find(|(_, member)| !member.is_passed_by)?;
        Some((order, &member.session))
    }
}

impl GpuQueues {
    /// Puts the session in its queue. `None` while the queue is open.
    pub fn wait(&self, new: Waiting) -> Option<Place> {
        let mut state = self.lock();
        let before = state.places.get(&new.session).filter(|(_, (_, _, uid))| *uid == new.uid);
        let since = before.map_or(new.since, |(_, (_, since, _))| *since);
        let order = (Reverse(new.priority), since, new.uid);
        let key = (new.queue.clone(), order.clone());
        if state.places.get(&new.session) != Some(&key) {
            state.remove(&new.session);
            state.places.insert(new.session.clone(), key);
        }
        let queue = state.queues.entry(new.queue).or_default();
        queue.waiting.insert(order.clone(), Member { session: new.session, is_passed_by: new.is_passed_by });
        queue.is_closed |= new.is_short_of_gpus && !new.is_passed_by;
        queue.is_closed.then(|| {
            let ahead = queue.waiting.range(..order).filter(|(_, member)| !member.is_passed_by).count();
            Place { ahead: ahead as i64, since, may_start: ahead == 0 }
        })
    }

    /// The session has its GPUs, or no longer wants any. Returns the session whose turn has come, if any.
    pub fn leave(&self, session: &ObjectRef<VDISession>) -> Option<ObjectRef<VDISession>> {
        self.lock().remove(session)
    }

    /// How many sessions of this and of other templates wait for the same GPUs, in any namespace; `None` where somebody else keeps
    /// the queue.
    pub fn waiting(&self, template: &Template) -> Option<i64> {
        let QueueKey { gpus, .. } = QueueKey::of(template, "")?;
        let state = self.lock();
        let queues = state.queues.iter().filter(|(key, queue)| key.gpus == gpus && queue.is_closed);
        let waiting = queues.flat_map(|(_, queue)| queue.waiting.values()).filter(|member| !member.is_passed_by);
        Some(i64::try_from(waiting.count()).unwrap_or(i64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, session: &ObjectRef<VDISession>) -> Option<ObjectRef<VDISession>> {
        let (key, order) = self.places.remove(session)?;
        let queue = self.queues.get_mut(&key)?;
        let was_first = queue.first().is_some_and(|(first, _)| *first == order);
        queue.waiting.remove(&order);
        if queue.waiting.is_empty() {
            self.queues.remove(&key);
            return None;
        }
        let next = queue.first().filter(|_| was_first && queue.is_closed)?;
        Some(next.1.clone())
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use vdi_planner::fixture::{self, noon};

    use super::*;

    fn session(name: &str) -> ObjectRef<VDISession> {
        ObjectRef::new(name).within("team")
    }

    fn waiting(name: &str, seconds: i64, is_short_of_gpus: bool) -> Waiting {
        Waiting {
            session: session(name),
            uid: name.to_owned(),
            queue: QueueKey::of(&fixture::template(), "team").unwrap(),
            priority: 0,
            is_passed_by: false,
            since: noon() + SignedDuration::from_secs(seconds),
            is_short_of_gpus,
        }
    }

    fn ahead(queues: &GpuQueues, name: &str, seconds: i64) -> Option<(i64, bool)> {
        queues.wait(waiting(name, seconds, false)).map(|place| (place.ahead, place.may_start))
    }

    #[test]
    fn while_there_are_gpus_there_is_no_queue() {
        let queues = GpuQueues::default();
        assert_eq!((ahead(&queues, "a", 0), ahead(&queues, "b", 1)), (None, None));
    }

    #[test]
    fn once_gpus_are_short_sessions_queue_by_age_in_whatever_order_they_get_passes() {
        let queues = GpuQueues::default();
        assert_eq!(ahead(&queues, "c", 2), None);
        queues.wait(waiting("a", 0, true));
        assert_eq!(ahead(&queues, "b", 1), Some((1, false)));
        assert_eq!(ahead(&queues, "c", 2), Some((2, false)));
        assert_eq!(ahead(&queues, "a", 0), Some((0, true)));
        assert_eq!(ahead(&queues, "a", 99), Some((0, true)), "it waits since it began to");
    }

    #[test]
    fn when_the_first_leaves_the_next_gets_a_pass_and_nobody_does_when_another_leaves() {
        let queues = GpuQueues::default();
        queues.wait(waiting("a", 0, true));
        for (name, seconds) in [("b", 1), ("c", 2), ("d", 3)] {
            ahead(&queues, name, seconds);
        }
        assert_eq!(queues.leave(&session("c")), None);
        assert_eq!(queues.leave(&session("a")), Some(session("b")));
        assert_eq!(ahead(&queues, "b", 1), Some((0, true)));
        assert_eq!(ahead(&queues, "d", 3), Some((1, false)), "still one by one");
        queues.leave(&session("b"));
        queues.leave(&session("d"));
        assert_eq!(ahead(&queues, "e", 9), None, "an empty queue is open again");
    }

    #[test]
    fn a_higher_priority_comes_first_and_another_kind_of_gpu_waits_elsewhere() {
        let queues = GpuQueues::default();
        queues.wait(waiting("a", 0, true));
        let urgent = Waiting { priority: 10, ..waiting("urgent", 9, false) };
        assert_eq!(queues.wait(urgent).map(|place| place.ahead), Some(0));
        assert_eq!(ahead(&queues, "a", 0), Some((1, false)));
        let mig =
            Template { gpu: GpuSource::ExtendedResource("nvidia.com/mig-1g.10gb".to_owned()), ..fixture::template() };
        let other = Waiting { queue: QueueKey::of(&mig, "team").unwrap(), ..waiting("other", 1, false) };
        assert_eq!(queues.wait(other), None);
    }

    #[test]
    fn a_refused_session_keeps_its_place_and_holds_nobody_up() {
        let queues = GpuQueues::default();
        let refused = || Waiting { is_passed_by: true, ..waiting("a", 0, true) };
        assert_eq!(queues.wait(refused()), None, "what is refused shows no lack of GPUs");
        ahead(&queues, "b", 1);
        queues.wait(waiting("c", 2, true));
        assert_eq!(queues.wait(refused()).map(|place| (place.ahead, place.may_start)), Some((0, true)));
        assert_eq!((ahead(&queues, "b", 1), ahead(&queues, "c", 2)), (Some((0, true)), Some((1, false))));
        assert_eq!(queues.leave(&session("b")), Some(session("c")));
        assert_eq!(ahead(&queues, "a", 0), Some((0, true)), "once it isn't any more, it is first");
        assert_eq!(ahead(&queues, "c", 2), Some((1, false)));
    }

    #[test]
    fn what_kueue_orders_is_left_to_it() {
        let pod_labels = [("kueue.x-k8s.io/queue-name".to_owned(), "gpus".to_owned())].into();
        let template = Template { pod_labels, ..fixture::template() };
        assert_eq!(QueueKey::of(&template, "team"), None);
        assert_eq!(GpuQueues::default().waiting(&template), None);
    }

    #[test]
    fn those_who_wait_are_counted_for_each_kind_of_gpu_unless_others_may_overtake_them() {
        let queues = GpuQueues::default();
        let count = |template: &Template| queues.waiting(template).unwrap();
        ahead(&queues, "a", 0);
        assert_eq!(count(&fixture::template()), 0, "there is no queue yet");
        queues.wait(waiting("b", 1, true));
        queues.wait(Waiting { is_passed_by: true, ..waiting("refused", 2, false) });
        assert_eq!(count(&fixture::template()), 2);
        assert_eq!(count(&Template { node_selector: [].into(), ..fixture::template() }), 0);
        let claims = Template { gpu: GpuSource::ClaimTemplate("one-gpu".to_owned()), ..fixture::template() };
        for (name, namespace) in [("c", "team"), ("d", "other")] {
            queues.wait(Waiting { queue: QueueKey::of(&claims, namespace).unwrap(), ..waiting(name, 3, true) });
        }
        assert_eq!(count(&claims), 2, "in all namespaces");
    }

    #[test]
    fn only_a_lack_of_gpus_makes_a_queue() {
        let gpu = fixture::template().gpu;
        let short = |words: &str| is_short_of_gpus(&Wait::Node(words.to_owned()), &gpu);
        assert!(short("0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient nvidia.com/gpu."));
        assert!(!short("0/3 nodes are available: 3 Insufficient memory."));
        assert!(!is_short_of_gpus(&Wait::Scheduler, &gpu));
    }
}
