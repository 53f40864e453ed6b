//! Step four: the status, written only when it differs, and an event for what is out of the ordinary.

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder},
};
use serde_json::{Map, Value, json};
use vdi_api::{VDISession, VDISessionStatus};

use crate::reason::Reason;

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("writing the session's status: {0}")]
    Status(Box<kube::Error>),
    #[error("the status can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Whether there is a newer version of the session now.
pub async fn publish(
    session: &VDISession,
    status: &VDISessionStatus,
    client: &Client,
    events: &Recorder,
) -> Result<bool, PublishError> {
    let current = session.status.clone().unwrap_or_default();
    if current == *status {
        return Ok(false);
    }
    let patch = json!({
        // From an old cache, this write is refused: the newer object is on its way here, and will be planned for.
        "metadata": { "resourceVersion": session.resource_version() },
        "status": merge_patch(&current, status)?,
    });
    let sessions: Api<VDISession> = Api::namespaced(client.clone(), &session.namespace().unwrap_or_default());
    let written = match sessions.patch_status(&session.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await
    {
        Ok(written) => written,
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return Ok(false),
        Err(error) => return Err(PublishError::Status(Box::new(error))),
    };
    tell(session, &current, status, events).await;
    Ok(written.resource_version() != session.resource_version())
}

/// RFC 7396: only what differs, with `null` for what goes.
fn merge_patch(current: &VDISessionStatus, new: &VDISessionStatus) -> Result<Map<String, Value>, serde_json::Error> {
    let (current, new) = (fields(current)?, fields(new)?);
    let gone = current.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed =
        new.iter().filter(|(key, value)| current.get(*key) != Some(value)).map(|(k, v)| (k.clone(), v.clone()));
    Ok(gone.chain(changed).collect())
}

fn fields(status: &VDISessionStatus) -> Result<Map<String, Value>, serde_json::Error> {
    Ok(match serde_json::to_value(status)? {
        Value::Object(fields) => fields,
        _ => Map::new(),
    })
}

/// An event that is lost is lost: the condition says the same.
async fn tell(session: &VDISession, old: &VDISessionStatus, new: &VDISessionStatus, events: &Recorder) {
    let Some(ready) = new.ready() else { return };
    let is_news = old.ready().is_none_or(|old| old.reason != ready.reason);
    if !is_news || Reason::is_one_of(&ready.reason, &Reason::QUIET) {
        return;
    }
    let is_normal = Reason::is_one_of(&ready.reason, &Reason::NORMAL);
    let event = Event {
        type_: if is_normal { EventType::Normal } else { EventType::Warning },
        reason: ready.reason.clone(),
        note: Some(ready.message.clone()),
        action: format!("{:?}", new.phase),
        secondary: None,
    };
    if let Err(error) = events.publish(&event, &session.object_ref(&())).await {
        tracing::warn!(%error, reason = ready.reason, "an event could not be written");
    }
}

#[cfg(test)]
mod tests {
    use vdi_api::Phase;

    use super::*;

    #[test]
    fn a_patch_has_only_what_differs_and_null_for_what_goes() {
        let current = VDISessionStatus {
            phase: Phase::Creating,
            pod_name: Some("vdi-a".to_owned()),
            url: Some("https://a".to_owned()),
            ..Default::default()
        };
        let new = VDISessionStatus { phase: Phase::Pending, pod_name: None, ..current.clone() };
        let patch = Value::Object(merge_patch(&current, &new).unwrap());
        assert_eq!(patch, json!({ "phase": "Pending", "podName": null }));
    }
}
