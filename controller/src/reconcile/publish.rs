//! Writes the status where it differs, and an event for a new reason that is out of the ordinary.

use jiff::Timestamp;
use kube::{
    Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::Request,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use vdi_api::{VDISession, VDISessionStatus};
use vdi_planner::model::{Event, Reason};

use crate::apiserver::events::{self, SessionEvent};

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("writing the session's status: {0}")]
    Status(Box<kube::Error>),
    #[error("the status can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Returns the session's new version; `None` when there was nothing to write, or the write was refused as outdated.
pub async fn publish(
    session: &VDISession,
    status: &VDISessionStatus,
    client: &Client,
    now: Timestamp,
) -> Result<Option<String>, PublishError> {
    let current = session.status.clone().unwrap_or_default();
    if current == *status {
        return Ok(None);
    }
    let patch = json!({
        // A write from a stale cache is refused: the newer object is on its way here, and gets a pass.
        "metadata": { "resourceVersion": session.resource_version() },
        "status": merge_patch(&current, status)?,
    });
    let sessions = Request::new(VDISession::url_path(&(), session.namespace().as_deref()));
    let patch = sessions
        .patch_subresource("status", &session.name_any(), &PatchParams::default(), &Patch::Merge(patch))
        .map_err(|error| PublishError::Status(Box::new(kube::Error::BuildRequest(error))))?;
    let written = match client.request::<Written>(patch).await {
        Ok(written) => written,
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return Ok(None),
        Err(error) => return Err(PublishError::Status(Box::new(error))),
    };
    report(session, &current, status, client, now).await;
    Ok(written.metadata.resource_version.filter(|version| Some(version) != session.resource_version().as_ref()))
}

/// The part of the answer that is read.
#[derive(Deserialize)]
struct Written {
    metadata: WrittenMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMeta {
    resource_version: Option<String>,
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

/// Reports a change of the reason.
async fn report(session: &VDISession, old: &VDISessionStatus, new: &VDISessionStatus, client: &Client, now: Timestamp) {
    let Some(ready) = new.ready() else { return };
    let is_new = old.ready().is_none_or(|old| old.reason != ready.reason);
    let kind = Reason::of(new).map_or(Event::None, Reason::event);
    if !is_new || kind == Event::None {
        return;
    }
    let event = SessionEvent {
        is_warning: kind == Event::Warning,
        reason: &ready.reason,
        message: &ready.message,
        action: format!("{:?}", new.phase),
        // The same may happen to the session again later.
        key: &now.to_string(),
    };
    events::write(session, event, client, now).await;
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
