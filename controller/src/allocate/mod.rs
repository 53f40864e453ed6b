//! Who has which home, host name and place in the queue for GPUs: the only state that a pass changes in memory. All of it can be
//! lost: a restarted controller derives it from the objects of the cluster.

mod gpu_queue;
mod homes;
mod hosts;
mod url_template;

use std::sync::Arc;

use jiff::Timestamp;
use kube::{Resource, runtime::reflector::ObjectRef};
use vdi_api::VDISession;
use vdi_planner::model::{HomeState, Login, Place, PodState, Reason, Template};
use vdi_service::{LoginKeys, Shared};

use crate::cache::{SessionView, Stores, Workqueue};
use gpu_queue::{GpuQueues, QueueKey, Waiting};
use homes::Homes;
use hosts::HostClaims;

pub use url_template::UrlTemplate;

pub struct Allocations {
    hosts: HostClaims,
    homes: Homes,
    gpu_queues: GpuQueues,
    /// What passwords of desktops that ask for one are derived from.
    login_keys: Shared<LoginKeys>,
    /// Gets the session whose turn has come.
    workqueue: Arc<Workqueue>,
}

/// What one session has been given.
pub struct Allocation {
    pub home: HomeState,
    /// `None` when there is no queue, or it isn't in it.
    pub place: Option<Place>,
    pub login: Option<Login>,
    pub url: Option<String>,
}

impl Allocations {
    pub fn new(urls: UrlTemplate, login_keys: Shared<LoginKeys>, workqueue: Arc<Workqueue>) -> Self {
        let (homes, gpu_queues) = (Homes::default(), GpuQueues::default());
        Self { hosts: HostClaims::new(urls), homes, gpu_queues, login_keys, workqueue }
    }

    /// What the session has, with what it needs and is free now.
    pub fn allocate(&self, view: &SessionView, stores: &Stores, now: Timestamp) -> Allocation {
        let home = view
            .wanted()
            .map_or(HomeState::NotWanted, |(spec, template)| self.homes.look(view.session, spec, template, stores));
        let login = self.login(view);
        let place = match view.startable() {
            Some((_, template)) if is_queued(&view.pod, &home, template, login.as_ref()) => {
                self.wait(view, template, stores, now)
            }
            _ => {
                self.leave_queue(&ObjectRef::from_obj(view.session));
                None
            }
        };
        // A session that waits for its turn leaves the home to those that can use it.
        if let Some((spec, template)) = view.startable()
            && (view.own_pod.is_some() || place.as_ref().is_none_or(|place| place.may_start))
        {
            self.homes.take(view.session, spec, template, &stores.pods);
        }
        let port = view.pinned().map(|pinned| pinned.port);
        let user = view.spec.as_ref().ok().map(|spec| &spec.user);
        let url = user.and_then(|user| self.hosts.url_of(view.session, user, &view.pod, port, &stores.sessions));
        Allocation { home, place, login, url }
    }

    /// The session gets no pod for now, and so has no use for its home.
    pub fn release_home(&self, session: &VDISession) {
        self.homes.release(session);
    }

    /// The session is gone, or no longer waits for GPUs. The next in the queue gets a pass.
    pub fn leave_queue(&self, session: &ObjectRef<VDISession>) {
        self.workqueue.add(self.gpu_queues.leave(session));
    }

    /// How many sessions wait for the GPUs that the template's want; `None` where somebody else keeps the queue.
    pub fn waiting(&self, template: &Template) -> Option<i64> {
        self.gpu_queues.waiting(template)
    }

    fn login(&self, view: &SessionView) -> Option<Login> {
        let basic_auth = view.valid_template().filter(|_| view.wants_pod())?.basic_auth.as_ref()?;
        let keys = self.login_keys.borrow();
        let key = keys.as_ref()?.newest()?;
        Some(Login::new(basic_auth, key.name(), key.password(&view.uid)))
    }

    fn wait(&self, view: &SessionView, template: &Template, stores: &Stores, now: Timestamp) -> Option<Place> {
        let wait = match &view.pod {
            PodState::Unscheduled(wait) => Some(wait),
            _ => None,
        };
        let status = view.session.status.as_ref();
        let published = status.and_then(|status| status.queue.as_ref());
        let resumes = status.and_then(Reason::of) == Some(Reason::Suspended);
        self.gpu_queues.wait(Waiting {
            session: ObjectRef::from_obj(view.session),
            uid: view.session.meta().uid.clone()?,
            queue: QueueKey::of(template, &view.namespace)?,
            is_passed_by: view.fits_nowhere || status.and_then(Reason::of).is_some_and(Reason::is_refusal),
            priority: stores.priority(template.priority_class.as_deref()),
            since: published.map_or(if resumes { now } else { view.created() }, |queue| queue.since.0),
            // A session whose status has a place was in a queue, also before a restart.
            is_short_of_gpus: published.is_some()
                || wait.is_some_and(|wait| gpu_queue::is_short_of_gpus(wait, &template.gpu)),
        })
    }
}

/// Whether only others ahead of it keep the session from having a pod.
fn is_queued(pod: &PodState, home: &HomeState, template: &Template, login: Option<&Login>) -> bool {
    match pod {
        PodState::Unscheduled(_) => true,
        PodState::Absent | PodState::Leaving(_) => {
            let has_home = !matches!(home, HomeState::InUse { .. } | HomeState::Leaving | HomeState::Taken);
            has_home && (template.basic_auth.is_none() || login.is_some())
        }
        _ => false,
    }
}
