//! The pods of others, as far as they hold GPUs that desktops could have.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store, reflector},
        watcher::{self, Event, watcher},
    },
};
use tokio::task::AbortHandle;
use vdi_api::desktop_pod::MANAGED_BY_SELECTOR;
use vdi_service::{Lenient, Pause, aside::map_event};

use super::{lookup::lookup_by_name, partial_pod::PodWithDevices};
use crate::telemetry::Counters;

/// What is free is told by them, and nothing else depends on it: the controller works without them.
#[derive(Clone, Debug)]
pub struct OtherPods {
    store: Store<OtherPod>,
    is_complete: Arc<AtomicBool>,
}

/// A pod that has a node and hasn't ended.
#[derive(Clone, Debug)]
pub struct OtherPod {
    name: String,
    namespace: String,
    pub node: String,
    /// How much it takes of each extended resource; not empty.
    pub devices: Vec<(String, i64)>,
}

lookup_by_name!(OtherPod, Pod, |pod| Some(&pod.namespace));

impl OtherPods {
    /// Starts to watch them; an interrupted watch resumes after `longest_pause` at the latest. The API server leaves out what holds
    /// nothing on a node, and most of the rest isn't kept.
    pub fn watch(client: &Client, counters: &Counters, longest_pause: Duration) -> (Self, AbortHandle) {
        let (store, writer) = reflector::store();
        let is_complete = Arc::<AtomicBool>::default();
        let config = watcher::Config::default()
            .labels(&MANAGED_BY_SELECTOR.replace('=', "!="))
            .fields("spec.nodeName!=,status.phase!=Failed,status.phase!=Succeeded");
        #[expect(clippy::disallowed_methods, reason = "what is watched is Lenient")]
        let events = watcher(Api::<Lenient<PodWithDevices>>::all(client.clone()), config);
        let events = events.backoff(Pause::up_to(longest_pause)).try_filter_map(|event| ready(Ok(holding(event))));
        let (counters, complete) = (counters.clone(), is_complete.clone());
        let handled = reflector(writer, events).for_each(move |event| {
            match event {
                // This runs behind the store, which is therefore filled.
                Ok(Event::InitDone) => complete.store(true, Ordering::Relaxed),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "the watch of others' pods was interrupted");
                    counters.watch_interrupted();
                }
            }
            ready(())
        });
        (Self { store, is_complete }, tokio::spawn(handled).abort_handle())
    }

    /// `None` until they are known.
    pub fn all(&self) -> Option<Vec<Arc<OtherPod>>> {
        self.is_complete.load(Ordering::Relaxed).then(|| self.store.state())
    }
}

/// Without the pods that hold no devices, which never changes while they exist.
fn holding(event: Event<Lenient<PodWithDevices>>) -> Option<Event<OtherPod>> {
    let event = match event {
        Event::Apply(Lenient::Parsed(pod)) => Event::Apply(pod),
        Event::Delete(Lenient::Parsed(pod)) => Event::Delete(pod),
        Event::InitApply(Lenient::Parsed(pod)) => Event::InitApply(pod),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::Apply(Lenient::Unreadable(_))
        | Event::Delete(Lenient::Unreadable(_))
        | Event::InitApply(Lenient::Unreadable(_)) => return None,
    };
    let event = map_event(event, |PodWithDevices { metadata, spec }| OtherPod {
        name: metadata.name.unwrap_or_default(),
        namespace: metadata.namespace.unwrap_or_default(),
        devices: spec.devices(),
        node: spec.node_name.unwrap_or_default(),
    });
    let holds = match &event {
        Event::Apply(pod) | Event::Delete(pod) | Event::InitApply(pod) => !pod.devices.is_empty(),
        Event::Init | Event::InitDone => true,
    };
    holds.then_some(event)
}
