//! Who is next when GPUs are short: first come, first served, within a priority.
//!
//! The scheduler has no such order of its own. So once a pod finds no GPU, its line is closed: only the first in it has a
//! pod that waits for the scheduler, and the others get theirs in turn.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use vdi_api::VDISession;

use crate::{
    pod_state::Wait,
    template::{GpuSource, Template},
};

/// A session's place in a closed line.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// How many sessions come before it.
    pub ahead: i64,
    /// Since when it waits.
    pub since: Timestamp,
    /// Whether it is its turn to have a pod.
    pub may_start: bool,
}

impl Place {
    /// Whether what its user was last told is close enough: exact for the first ten, later to a quarter.
    pub fn is_told_by(&self, told: i64) -> bool {
        told == self.ahead || self.ahead > 10 && told > self.ahead && told - self.ahead <= told / 4
    }
}

/// What sessions in one line compete for: the same GPUs on the same nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line(String);

impl Line {
    /// `None` for what is queued by somebody else: [Kueue] gives its own order.
    ///
    /// [Kueue]: https://kueue.sigs.k8s.io/docs/tasks/run/plain_pods/
    pub fn of(template: &Template, namespace: &str) -> Option<Self> {
        if template.pod_labels.contains_key("kueue.x-k8s.io/queue-name") {
            return None;
        }
        // A claim template of one namespace may ask for something else than that of another.
        let namespace = if matches!(template.gpu, GpuSource::ClaimTemplate(_)) { namespace } else { "" };
        let Template { gpu, node_selector, tolerations, .. } = template;
        Some(Self(format!("{gpu:?} {namespace} {node_selector:?} {tolerations:?}")))
    }
}

/// Whether it is GPUs that the scheduler finds too few of. [What it says] has been the same words for years.
///
/// [What it says]: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#my-pods-are-pending-with-event-message-failedscheduling
pub fn is_short_of_gpus(wait: &Wait, gpu: &GpuSource) -> bool {
    let Wait::Node(words) = wait else { return false };
    match gpu {
        GpuSource::ExtendedResource(name) => words.contains(&format!("Insufficient {name}")),
        GpuSource::ClaimTemplate(_) => words.contains("cannot allocate all claims"),
    }
}

/// The order in a line. The uid only makes it total.
type Order = (Reverse<i32>, Timestamp, String);

/// A session that waits for GPUs.
pub struct Waiting {
    pub session: ObjectRef<VDISession>,
    pub uid: String,
    pub line: Line,
    /// Whether others need not wait for it: it can't have a pod for now, for a reason that is its own.
    pub is_passed_by: bool,
    pub priority: i32,
    /// When it began to, unless it is known to wait already.
    pub since: Timestamp,
    /// Whether it shows that there are none.
    pub is_short_of_gpus: bool,
}

#[derive(Default)]
pub struct Lines(Mutex<State>);

#[derive(Default)]
struct State {
    lines: HashMap<Line, Queue>,
    places: HashMap<ObjectRef<VDISession>, (Line, Order)>,
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
    /// Whose turn it is.
    fn first(&self) -> Option<(&Order, &ObjectRef<VDISession>)> {
        let (order, member) = self.waiting.iter().find(|(_, member)| !member.is_passed_by)?;
        Some((order, &member.session))
    }
}

impl Lines {
    /// The session's place, when there is a queue.
    pub fn wait(&self, new: Waiting) -> Option<Place> {
        let mut state = self.lock();
        let before = state.places.get(&new.session).filter(|(_, (_, _, uid))| *uid == new.uid);
        let since = before.map_or(new.since, |(_, (_, since, _))| *since);
        let order = (Reverse(new.priority), since, new.uid);
        let key = (new.line.clone(), order.clone());
        if state.places.get(&new.session) != Some(&key) {
            state.remove(&new.session);
            state.places.insert(new.session.clone(), key);
        }
        let queue = state.lines.entry(new.line).or_default();
        queue.waiting.insert(order.clone(), Member { session: new.session, is_passed_by: new.is_passed_by });
        queue.is_closed |= new.is_short_of_gpus && !new.is_passed_by;
        queue.is_closed.then(|| {
            let ahead = queue.waiting.range(..order).filter(|(_, member)| !member.is_passed_by).count();
            Place { ahead: ahead as i64, since, may_start: ahead == 0 }
        })
    }

    /// The session has what it waited for, or wants it no more. Returns whose turn it is now, if that has changed.
    pub fn leave(&self, session: &ObjectRef<VDISession>) -> Option<ObjectRef<VDISession>> {
        self.lock().remove(session)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, session: &ObjectRef<VDISession>) -> Option<ObjectRef<VDISession>> {
        let (line, order) = self.places.remove(session)?;
        let queue = self.lines.get_mut(&line)?;
        let was_first = queue.first().is_some_and(|(first, _)| *first == order);
        queue.waiting.remove(&order);
        if queue.waiting.is_empty() {
            self.lines.remove(&line);
            return None;
        }
        let next = queue.first().filter(|_| was_first && queue.is_closed)?;
        Some(next.1.clone())
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::fixture::{self, noon};

    fn session(name: &str) -> ObjectRef<VDISession> {
        ObjectRef::new(name).within("team")
    }

    fn waiting(name: &str, seconds: i64, is_short_of_gpus: bool) -> Waiting {
        Waiting {
            session: session(name),
            uid: name.to_owned(),
            line: Line::of(&fixture::template(), "team").unwrap(),
            priority: 0,
            is_passed_by: false,
            since: noon() + SignedDuration::from_secs(seconds),
            is_short_of_gpus,
        }
    }

    fn ahead(lines: &Lines, name: &str, seconds: i64) -> Option<(i64, bool)> {
        lines.wait(waiting(name, seconds, false)).map(|place| (place.ahead, place.may_start))
    }

    #[test]
    fn while_there_are_gpus_there_is_no_queue() {
        let lines = Lines::default();
        assert_eq!((ahead(&lines, "a", 0), ahead(&lines, "b", 1)), (None, None));
    }

    #[test]
    fn once_they_are_short_those_who_came_first_come_first_however_they_are_looked_at() {
        let lines = Lines::default();
        assert_eq!(ahead(&lines, "c", 2), None);
        lines.wait(waiting("a", 0, true));
        assert_eq!(ahead(&lines, "b", 1), Some((1, false)));
        assert_eq!(ahead(&lines, "c", 2), Some((2, false)));
        assert_eq!(ahead(&lines, "a", 0), Some((0, true)));
        assert_eq!(ahead(&lines, "a", 99), Some((0, true)), "it waits since it began to");
    }

    #[test]
    fn when_the_first_leaves_the_next_is_called_and_nobody_is_when_another_leaves() {
        let lines = Lines::default();
        lines.wait(waiting("a", 0, true));
        for (name, seconds) in [("b", 1), ("c", 2), ("d", 3)] {
            ahead(&lines, name, seconds);
        }
        assert_eq!(lines.leave(&session("c")), None);
        assert_eq!(lines.leave(&session("a")), Some(session("b")));
        assert_eq!(ahead(&lines, "b", 1), Some((0, true)));
        assert_eq!(ahead(&lines, "d", 3), Some((1, false)), "still one by one");
        lines.leave(&session("b"));
        lines.leave(&session("d"));
        assert_eq!(ahead(&lines, "e", 9), None, "an empty queue is open again");
    }

    #[test]
    fn a_higher_priority_comes_first_and_another_kind_of_gpu_waits_elsewhere() {
        let lines = Lines::default();
        lines.wait(waiting("a", 0, true));
        let urgent = Waiting { priority: 10, ..waiting("urgent", 9, false) };
        assert_eq!(lines.wait(urgent).map(|place| place.ahead), Some(0));
        assert_eq!(ahead(&lines, "a", 0), Some((1, false)));
        let mig =
            Template { gpu: GpuSource::ExtendedResource("nvidia.com/mig-1g.10gb".to_owned()), ..fixture::template() };
        let other = Waiting { line: Line::of(&mig, "team").unwrap(), ..waiting("other", 1, false) };
        assert_eq!(lines.wait(other), None);
    }

    #[test]
    fn who_is_refused_keeps_a_place_and_is_in_nobodys_way() {
        let lines = Lines::default();
        let refused = || Waiting { is_passed_by: true, ..waiting("a", 0, true) };
        assert_eq!(lines.wait(refused()), None, "what is refused shows no lack of GPUs");
        ahead(&lines, "b", 1);
        lines.wait(waiting("c", 2, true));
        assert_eq!(lines.wait(refused()).map(|place| (place.ahead, place.may_start)), Some((0, true)));
        assert_eq!((ahead(&lines, "b", 1), ahead(&lines, "c", 2)), (Some((0, true)), Some((1, false))));
        assert_eq!(lines.leave(&session("b")), Some(session("c")));
        assert_eq!(ahead(&lines, "a", 0), Some((0, true)), "once it isn't any more, it is first");
        assert_eq!(ahead(&lines, "c", 2), Some((1, false)));
    }

    #[test]
    fn what_kueue_orders_is_left_to_it() {
        let pod_labels = [("kueue.x-k8s.io/queue-name".to_owned(), "gpus".to_owned())].into();
        assert_eq!(Line::of(&Template { pod_labels, ..fixture::template() }, "team"), None);
    }

    #[test]
    fn only_a_lack_of_gpus_makes_a_queue() {
        let gpu = fixture::template().gpu;
        let short = |words: &str| is_short_of_gpus(&Wait::Node(words.to_owned()), &gpu);
        assert!(short("0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient nvidia.com/gpu."));
        assert!(!short("0/3 nodes are available: 3 Insufficient memory."));
        assert!(!is_short_of_gpus(&Wait::Scheduler, &gpu));
    }

    #[test]
    fn a_long_queue_is_told_in_steps() {
        let told = |told: i64, ahead: i64| Place { ahead, since: noon(), may_start: false }.is_told_by(told);
        assert!(told(3, 3) && !told(3, 2) && !told(2, 3));
        assert!(told(100, 80) && !told(100, 70) && !told(100, 101));
        let (mut last, mut writes) = (1000, 0);
        for ahead in (0..1000).rev() {
            if !told(last, ahead) {
                (last, writes) = (ahead, writes + 1);
            }
        }
        assert!(writes < 40, "{writes}");
    }
}
