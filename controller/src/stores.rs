//! The objects that the controller watches, kept in memory, without what it never reads.

use std::{fmt::Debug, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use k8s_openapi::{
    api::{
        core::v1::{PersistentVolumeClaim, Pod, PodSpec, PodStatus},
        networking::v1::NetworkPolicy,
        scheduling::v1::PriorityClass,
    },
    serde::de::DeserializeOwned,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{WatchStreamExt, reflector, reflector::{ObjectRef, Store}, watcher, watcher::Event},
};
use tokio::sync::watch::{self, error::RecvError};
use vdi_api::{VDISession, VDITemplate};

use crate::resources::OURS;

#[derive(Clone)]
pub struct Stores {
    pub sessions: Store<VDISession>,
    pub templates: Store<VDITemplate>,
    pub pods: Store<Pod>,
    /// The homes that this controller made.
    pub claims: Store<PersistentVolumeClaim>,
    pub policies: Store<NetworkPolicy>,
    pub priorities: Store<PriorityClass>,
    /// How many of them have seen the whole of what they watch.
    complete: watch::Receiver<usize>,
}

/// The streams of what was added, changed or deleted. They fill the stores while something polls them.
pub struct Watches {
    pub sessions: BoxStream<'static, watcher::Result<VDISession>>,
    pub templates: BoxStream<'static, watcher::Result<VDITemplate>>,
    pub pods: BoxStream<'static, watcher::Result<Pod>>,
    pub claims: BoxStream<'static, watcher::Result<PersistentVolumeClaim>>,
    pub policies: BoxStream<'static, watcher::Result<NetworkPolicy>>,
    pub priorities: BoxStream<'static, watcher::Result<PriorityClass>>,
}

pub fn watch(client: &Client) -> (Stores, Watches) {
    let (complete, completed) = watch::channel(0);
    let complete = Arc::new(complete);
    let everything = watcher::Config::default();
    let ours = watcher::Config::default().labels(OURS);

    let (sessions, session_watch) = watch_one(client, everything.clone(), forget_managers, &complete);
    let (templates, template_watch) = watch_one(client, everything.clone(), forget_managers, &complete);
    let (priorities, priority_watch) = watch_one(client, everything, forget_managers, &complete);
    let (pods, pod_watch) = watch_one(client, ours.clone(), trim_pod, &complete);
    let (claims, claim_watch) = watch_one(client, ours.clone(), trim_claim, &complete);
    let (policies, policy_watch) = watch_one(client, ours, forget_managers, &complete);
    (
        Stores { sessions, templates, pods, claims, policies, priorities, complete: completed },
        Watches {
            sessions: session_watch,
            templates: template_watch,
            pods: pod_watch,
            claims: claim_watch,
            policies: policy_watch,
            priorities: priority_watch,
        },
    )
}

fn watch_one<K>(
    client: &Client,
    config: watcher::Config,
    trim: fn(&mut K),
    complete: &Arc<watch::Sender<usize>>,
) -> (Store<K>, BoxStream<'static, watcher::Result<K>>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let mut once = Some(complete.clone());
    // Behind the store: what is complete here is complete there.
    let notice = move |event: &Event<K>| {
        if matches!(event, Event::InitDone)
            && let Some(complete) = once.take()
        {
            complete.send_modify(|stores| *stores += 1);
        }
    };
    let events = watcher(Api::all(client.clone()), config).default_backoff().modify(trim).reflect(writer);
    (store, events.inspect_ok(notice).touched_objects().boxed())
}

impl Stores {
    const COUNT: usize = 6;

    /// Returns once every store has seen the whole of what it watches. Planning before that would take what hasn't been
    /// read yet for something that doesn't exist.
    ///
    /// Not by [`Store::wait_until_ready`]: of several that wait for the same store, kube 5.0 wakes only the last.
    pub async fn wait_until_complete(&self) -> Result<(), RecvError> {
        self.complete.clone().wait_for(|stores| *stores == Self::COUNT).await.map(drop)
    }

    /// The value of a priority class; without a name, of the cluster's default.
    pub fn priority(&self, class: Option<&str>) -> i32 {
        let class = match class {
            Some(name) => self.priorities.get(&ObjectRef::new(name)),
            None => self.priorities.find(|class| class.global_default == Some(true)),
        };
        class.map_or(0, |class| class.value)
    }

    pub fn are_complete(&self) -> bool {
        *self.complete.borrow() == Self::COUNT
    }
}

fn forget_managers(object: &mut impl ResourceExt) {
    object.managed_fields_mut().clear();
}

/// A pod is read for its place and its state only; the rest is most of its size.
fn trim_pod(pod: &mut Pod) {
    forget_managers(pod);
    pod.spec = pod.spec.take().map(|spec| PodSpec { node_name: spec.node_name, ..Default::default() });
    pod.status = pod.status.take().map(|status| PodStatus {
        phase: status.phase,
        reason: status.reason,
        message: status.message,
        conditions: status.conditions,
        container_statuses: status.container_statuses,
        pod_ip: status.pod_ip,
        ..Default::default()
    });
}

/// Of a home it is enough to know that it is there.
fn trim_claim(claim: &mut PersistentVolumeClaim) {
    forget_managers(claim);
    (claim.spec, claim.status) = (None, None);
}
