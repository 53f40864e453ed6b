//! Asks why a home has no volume. Only provisioners know, and they say so in events alone.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::{ListParams, ObjectMeta},
};
use serde::Deserialize;
use vdi_service::{Aside, Lenient, lenient, same_resource};

use crate::{
    home::HomeState,
    observe::Observed,
    pod_state::{PodState, Wait},
    resources::home_name,
};

/// A volume is usually made within seconds, and nobody has to ask about that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of an event, what is read of it.
#[derive(Clone, Debug, Deserialize)]
pub struct LeanEvent {
    #[serde(deserialize_with = "lenient::metadata")]
    metadata: ObjectMeta,
    message: Option<String>,
}

same_resource!(LeanEvent, Event);

/// The state of the session's home, with what is wrong with it.
pub async fn read(seen: &Observed, client: &Client, aside: &Aside, now: Timestamp) -> HomeState {
    let is_waited_for = matches!(seen.pod, PodState::Unscheduled(Wait::Scheduler | Wait::Node(_)));
    let is_late = now.duration_since(seen.created).unsigned_abs() >= PATIENCE;
    match (&seen.home, &seen.spec, &seen.template) {
        (HomeState::Unbound { .. }, Ok(spec), Some(Ok(template))) if is_waited_for && is_late => {
            let claim = template.home.as_ref().map(|home| home_name(&seen.uid, spec, home)).unwrap_or_default();
            HomeState::Unbound { why: last_warning(&claim, &seen.namespace, client, aside).await }
        }
        _ => seen.home.clone(),
    }
}

async fn last_warning(claim: &str, namespace: &str, client: &Client, aside: &Aside) -> Option<String> {
    let events: Api<Lenient<LeanEvent>> = Api::namespaced(client.clone(), namespace);
    let fields = format!("involvedObject.kind=PersistentVolumeClaim,involvedObject.name={claim},type=Warning");
    match aside.list(&events, &ListParams::default().fields(&fields)).await {
        Ok(list) => list.into_iter().max_by_key(|event| event.metadata.creation_timestamp.clone())?.message,
        Err(error) => {
            tracing::warn!(%error, claim, namespace, "why it has no volume can't be read");
            None
        }
    }
}
