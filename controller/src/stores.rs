//! The objects that the controller watches, kept in memory, without what it never reads.

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt, reflector,
        reflector::{Store, store::WriterDropped},
        watcher,
    },
};
use vdi_api::{VDISession, VDITemplate};

use crate::resources::OURS;

#[derive(Clone)]
pub struct Stores {
    pub sessions: Store<VDISession>,
    pub templates: Store<VDITemplate>,
    pub pods: Store<Pod>,
}

/// The streams of what was added, changed or deleted. They fill the stores while something polls them.
pub struct Watches {
    pub sessions: BoxStream<'static, watcher::Result<VDISession>>,
    pub templates: BoxStream<'static, watcher::Result<VDITemplate>>,
    pub pods: BoxStream<'static, watcher::Result<Pod>>,
}

pub fn watch(client: &Client) -> (Stores, Watches) {
    let (sessions, session_writer) = reflector::store();
    let (templates, template_writer) = reflector::store();
    let (pods, pod_writer) = reflector::store();
    let everything = watcher::Config::default();
    let ours = watcher::Config::default().labels(OURS);

    let session_watch = watcher(Api::all(client.clone()), everything.clone()).default_backoff().modify(forget_managers);
    let template_watch = watcher(Api::all(client.clone()), everything).default_backoff().modify(forget_managers);
    let pod_watch = watcher(Api::all(client.clone()), ours).default_backoff().modify(trim);
    let watches = Watches {
        sessions: session_watch.reflect(session_writer).touched_objects().boxed(),
        templates: template_watch.reflect(template_writer).touched_objects().boxed(),
        pods: pod_watch.reflect(pod_writer).touched_objects().boxed(),
    };
    (Stores { sessions, templates, pods }, watches)
}

impl Stores {
    /// Returns once every store has seen the whole of what it watches. Planning before that would take what hasn't been
    /// read yet for something that doesn't exist.
    pub async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
        self.sessions.wait_until_ready().await?;
        self.templates.wait_until_ready().await?;
        self.pods.wait_until_ready().await
    }
}

fn forget_managers(object: &mut impl ResourceExt) {
    object.managed_fields_mut().clear();
}

/// A pod is read for its place and its state only; the rest is most of its size.
fn trim(pod: &mut Pod) {
    forget_managers(pod);
    pod.metadata.annotations = None;
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
