//! Why a home has no volume. Only the provisioner knows, and it says so in events alone.

use std::time::Duration;

use jiff::Timestamp;
use kube::{Api, Client, api::ListParams};
use vdi_planner::{
    model::{HomeState, PodState, Wait},
    resources::home_name,
};
use vdi_service::{Aside, Lenient};

use crate::cache::{PartialEvent, SessionView};

/// A volume is usually provisioned within seconds, and then nobody has to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the session's home has no volume yet, where that is what the session waits for.
pub async fn failure(
    view: &SessionView<'_>,
    home: &HomeState,
    client: &Client,
    aside: &Aside,
    now: Timestamp,
) -> Option<String> {
    let is_waited_for = matches!(view.pod, PodState::Unscheduled(Wait::Scheduler | Wait::Node(_)));
    let is_late = now.duration_since(view.created()).unsigned_abs() >= PATIENCE;
    let is_unbound = matches!(home, HomeState::Unbound { .. });
    let (spec, template) = view.spec.as_ref().ok().zip(view.valid_template())?;
    if !(is_unbound && is_waited_for && is_late) {
        return None;
    }
    let claim = template.home.as_ref().map(|home| home_name(&view.uid, spec, home)).unwrap_or_default();
    last_warning(&claim, &view.namespace, client, aside).await
}

async fn last_warning(claim: &str, namespace: &str, client: &Client, aside: &Aside) -> Option<String> {
    let events: Api<Lenient<PartialEvent>> = Api::namespaced(client.clone(), namespace);
    let fields = format!("involvedObject.kind=PersistentVolumeClaim,involvedObject.name={claim},type=Warning");
    match aside.list(&events, &ListParams::default().fields(&fields)).await {
        Ok(list) => list.into_iter().max_by_key(|event| event.metadata.creation_timestamp.clone())?.message,
        Err(error) => {
            tracing::warn!(%error, claim, namespace, "the events of a home without a volume can't be listed");
            None
        }
    }
}
