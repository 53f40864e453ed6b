//! Keeps the number of its sessions, and what is free for more of them, in each template's status.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::reflector::ObjectRef,
};
use serde_json::{Value, json};
use vdi_api::{Capacity, Expiry, VDITemplate, VDITemplateStatus};
use vdi_planner::{
    capacity::{Holder, Node, Supply},
    model::Template,
};
use vdi_service::{Lenient, lenient::Custom};

use crate::{
    allocate::Allocations,
    cache::{PodSummary, Stores},
};

/// A number that is a few seconds old is good enough for people, and costs one write however many sessions come and go meanwhile.
const PAUSE: Duration = Duration::from_secs(5);
/// One GPU that is taken changes what is free for every template that wants such GPUs, so many templates are written less often: in
/// all, no more than one write in this time.
const PAUSE_PER_WRITE: Duration = Duration::from_millis(200);

/// The version of a template, and the status that was written to it.
type Written = (Option<String>, VDITemplateStatus);

/// Never returns.
pub async fn follow(stores: &Stores, allocations: &Allocations, client: &Client) {
    let templates: Api<Lenient<Custom<VDITemplate>>> = Api::all(client.clone());
    let mut written: HashMap<String, Written> = HashMap::new();
    let mut pause = PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let mut writes = 0;
        let outdated = outdated(stores, allocations);
        written.retain(|name, _| outdated.iter().any(|(template, _)| template.name_any() == *name));
        for (template, status) in outdated {
            let (name, write) = (template.name_any(), (template.resource_version(), status));
            // The same again would change nothing: the watch is late, or an older CRD drops a field.
            if written.get(&name) == Some(&write) {
                continue;
            }
            let patch = Patch::Merge(patch(&template, &write.1));
            match templates.patch_status(&name, &PatchParams::default(), &patch).await {
                // It is gone, or a newer version is on its way here.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => tracing::warn!(template = name, %error, "writing the template's status failed"),
                Ok(_) => drop(written.insert(name, write)),
            }
            writes += 1;
        }
        pause = PAUSE.max(PAUSE_PER_WRITE * writes);
    }
}

/// The templates whose published status is wrong, with the right one.
fn outdated(stores: &Stores, allocations: &Allocations) -> Vec<(Arc<VDITemplate>, VDITemplateStatus)> {
    let mut counts: HashMap<String, i64> = HashMap::new();
    for session in stores.sessions.state() {
        *counts.entry(session.spec.template.clone()).or_default() += 1;
    }
    let (nodes, pods, others) = (stores.nodes.state(), stores.pods.state(), stores.other_pods.all());
    let supply = others.as_ref().map(|others| {
        let nodes = nodes.iter().map(|node| Node {
            name: &node.name,
            labels: &node.labels,
            taints: &node.taints,
            allocatable: &node.allocatable,
        });
        let others = others.iter().map(|pod| Holder { node: &pod.node, devices: &pod.devices, until: None });
        Supply::new(nodes.collect(), pods.iter().filter_map(|pod| holder(pod, stores)).chain(others))
    });
    let capacity = |template: &VDITemplate| -> Option<Capacity> {
        let Some(supply) = &supply else {
            // What was found before a restart is a better guess than none.
            return template.status.as_ref()?.capacity.clone();
        };
        let template = Template::try_from(template).ok()?;
        Some(supply.capacity(&template, allocations.waiting(&template)?))
    };
    let outdated = stores.templates.state().into_iter().filter_map(|template| {
        let sessions = counts.get(&template.name_any()).copied().unwrap_or_default();
        let status = VDITemplateStatus { sessions, capacity: capacity(&template) };
        (template.status.clone().unwrap_or_default() != status).then_some((template, status))
    });
    outdated.collect()
}

/// A pod holds what it was given until it has ended or is gone, as the scheduler sees it.
fn holder<'a>(pod: &'a PodSummary, stores: &Stores) -> Option<Holder<'a>> {
    let node = pod.node.as_ref().filter(|_| !pod.has_ended)?;
    Some(Holder { node, devices: &pod.devices, until: end(pod, stores) })
}

/// When a desktop ends by itself. That one starts too slowly isn't expected.
fn end(pod: &PodSummary, stores: &Stores) -> Option<Timestamp> {
    let ends = pod.owners.iter().filter_map(|owner| {
        let session = stores.sessions.get(&ObjectRef::new(&owner.name).within(&pod.namespace))?;
        let status = session.status.as_ref().filter(|_| session.metadata.uid.as_ref() == Some(&owner.uid))?;
        let is_end = matches!(status.expiry?, Expiry::Timeout | Expiry::MaxTimeout | Expiry::Idle);
        status.expires_at.as_ref().filter(|_| is_end).map(|at| at.0)
    });
    ends.min()
}

/// RFC 7396, with `null` for what is unknown, since that may have been known before. A write from a stale cache is refused.
fn patch(template: &VDITemplate, status: &VDITemplateStatus) -> Value {
    let capacity = status.capacity.as_ref().map(|Capacity { gpus, free, waiting, next_free }| {
        json!({ "gpus": gpus, "free": free, "waiting": waiting, "nextFree": next_free })
    });
    json!({
        "metadata": { "resourceVersion": template.resource_version() },
        "status": { "sessions": status.sessions, "capacity": capacity },
    })
}
