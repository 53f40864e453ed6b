//! More time for a session that is about to end: one click does what its owner could do with `kubectl patch`.

use std::time::Duration;

use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use vdi_api::VDISession;
use vdi_service::{Lenient, lenient::Custom};

use crate::sessions::Session;

/// What is added, and what is tried instead if the admission policy has no room for it.
const STEPS: [Duration; 4] = [minutes(60), minutes(30), minutes(15), minutes(5)];

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// Why a session gets no more time.
#[derive(Debug, thiserror::Error)]
pub enum ExtendError {
    #[error("more time is available only shortly before the end, and only up to the template's maxTimeout")]
    NotOffered,
    /// In the words of whoever refused, usually the admission policy.
    #[error("{0}")]
    Refused(String),
    #[error("the cluster does not answer; try again")]
    Cluster(#[source] kube::Error),
}

/// Raises `spec.timeout`. The controller postpones the end accordingly, up to the template's `maxTimeout`.
pub async fn extend(client: &Client, session: &Session, now: Timestamp) -> Result<(), ExtendError> {
    let timeout = session.extendable(now).ok_or(ExtendError::NotOffered)?;
    let sessions: Api<Lenient<Custom<VDISession>>> = Api::namespaced(client.clone(), &session.namespace);
    let mut refused = None;
    for step in STEPS {
        let Some(longer) = timeout.longer_by(step) else { continue };
        // With the uid, so that a newer session of the same name isn't touched.
        let patch = json!({ "metadata": { "uid": session.uid }, "spec": { "timeout": longer.to_string() } });
        match sessions.patch(&session.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {
                tracing::info!(session = session.name, namespace = session.namespace, timeout = %longer, "extended");
                return Ok(());
            }
            Err(kube::Error::Api(status)) if status.code < 500 => refused = refused.or(Some(status.message)),
            Err(error) => return Err(ExtendError::Cluster(error)),
        }
    }
    Err(refused.map_or(ExtendError::NotOffered, ExtendError::Refused))
}
