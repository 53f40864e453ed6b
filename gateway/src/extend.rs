//! More time for a session whose time is nearly over: what its owner could do with `kubectl patch`, by one click.

use std::time::Duration;

use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use vdi_api::{Timeout, VDISession};
use vdi_service::{Lenient, lenient::Custom};

use crate::session::Session;

/// More is offered when so little is left. One click too many then costs nobody a day of a GPU.
const OFFERED: Duration = Duration::from_secs(15 * 60);
/// What is asked for, and what instead where the admission policy has no room for it.
const MORE: [Duration; 4] = [minutes(60), minutes(30), minutes(15), minutes(5)];

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// Why a session gets no more time.
#[derive(Debug, thiserror::Error)]
pub enum ExtendError {
    #[error("this desktop can have no more time")]
    NotOffered,
    /// In the words of whoever refused: the admission policy, as a rule.
    #[error("{0}")]
    Refused(String),
    #[error("the cluster does not answer; try again")]
    Cluster(#[source] kube::Error),
}

/// The `spec.timeout` that can be raised, when it is time to offer that.
pub fn offered(session: &Session, now: Timestamp) -> Option<Timeout> {
    let left = session.ends?.duration_since(now);
    session.timeout.filter(|_| session.running().is_some() && left.unsigned_abs() <= OFFERED && left.is_positive())
}

/// Raises `spec.timeout`. The controller makes a later end of it, up to the template's `maxTimeout`.
pub async fn extend(client: &Client, session: &Session, now: Timestamp) -> Result<(), ExtendError> {
    let timeout = offered(session, now).ok_or(ExtendError::NotOffered)?;
    let sessions: Api<Lenient<Custom<VDISession>>> = Api::namespaced(client.clone(), &session.namespace);
    let mut refused = None;
    for more in MORE {
        let Some(longer) = timeout.longer_by(more) else { continue };
        // With the uid, so that a session that was made again under the same name isn't touched.
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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::fixture::{noon, session};

    #[test]
    fn more_time_is_offered_shortly_before_the_end_and_only_where_it_helps() {
        let timeout = "8h".parse().ok();
        let ending =
            |minutes| Session { ends: Some(noon() + SignedDuration::from_mins(minutes)), timeout, ..session() };
        assert_eq!(offered(&ending(15), noon()), timeout);
        assert_eq!(offered(&ending(16), noon()), None, "there is time enough");
        assert_eq!(offered(&ending(0), noon()), None, "it is over");
        assert_eq!(offered(&ending(-5), noon()), None);
        assert_eq!(offered(&Session { timeout: None, ..ending(5) }, noon()), None, "it is its template's longest");
        assert_eq!(offered(&Session { desktop: None, ..ending(5) }, noon()), None);
    }
}
