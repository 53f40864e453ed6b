//! Marks sessions that can't be parsed in their condition `Ready`, where users look. A template has no conditions; the sessions that
//! name it say so.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use vdi_api::VDISession;
use vdi_planner::model::Reason;
use vdi_service::{
    Aside, Lenient,
    lenient::{Custom, Unreadable},
};

use crate::apiserver::Clock;

/// Nothing waits for this.
const PAUSE: Duration = Duration::from_secs(5);

/// Never returns.
pub async fn follow(aside: &Aside, client: &Client, clock: &Clock) {
    // By uid and version, each tried once: a refused write would be refused again.
    let mut tried = HashSet::new();
    loop {
        tokio::time::sleep(PAUSE).await;
        let sessions = aside.all::<Custom<VDISession>>();
        let versions = |session: &Unreadable| (session.uid().map(str::to_owned), session.version().map(str::to_owned));
        tried.retain(|tried| sessions.iter().any(|session| versions(session) == *tried));
        for session in sessions {
            let Some(conditions) = conditions(&session, clock.now()) else { continue };
            if tried.insert(versions(&session))
                && let Err(error) = write(&session, conditions, client).await
            {
                let (namespace, name) = (session.namespace(), session.name());
                tracing::warn!(%error, namespace, name, "marking a session that can't be parsed failed");
            }
        }
    }
}

/// The conditions as they should be; `None` where they already are. Conditions of other types stay as they are.
fn conditions(session: &Unreadable, now: Timestamp) -> Option<Vec<Value>> {
    let message =
        format!("this version of the controller can't parse the session, and leaves it alone: {}", session.error);
    let is_ready = |condition: &&Value| condition["type"] == "Ready";
    let before = session.conditions.iter().find(is_ready);
    if before.is_some_and(|ready| ready["message"] == message) {
        return None;
    }
    let ready = Condition {
        type_: "Ready".to_owned(),
        status: "False".to_owned(),
        reason: Reason::SessionInvalid.to_string(),
        message,
        last_transition_time: Time(now),
        observed_generation: None,
    };
    let others = session.conditions.iter().filter(|condition| !is_ready(condition)).cloned();
    Some(others.chain(serde_json::to_value(ready).ok()).collect())
}

async fn write(session: &Unreadable, conditions: Vec<Value>, client: &Client) -> Result<(), kube::Error> {
    let patch = json!({
        // A merge patch replaces the whole list, so the version has to be the one that it was read from.
        "metadata": { "resourceVersion": session.version() },
        "status": { "conditions": conditions },
    });
    let sessions: Api<Lenient<Custom<VDISession>>> = Api::namespaced(client.clone(), session.namespace());
    sessions.patch_status(session.name(), &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(conditions: &Value) -> Unreadable {
        let session = json!({ "metadata": { "name": "a" }, "spec": 7, "status": { "conditions": conditions } });
        match serde_json::from_str(&session.to_string()).unwrap() {
            Lenient::<Custom<VDISession>>::Parsed(session) => panic!("{session:?}"),
            Lenient::Unreadable(session) => *session,
        }
    }

    #[test]
    fn a_session_that_cannot_be_parsed_is_marked_once_and_keeps_its_other_conditions() {
        let others = json!({ "type": "Fancy", "status": "True", "new": [7] });
        let told =
            conditions(&unreadable(&json!([others, { "type": "Ready", "status": "True" }])), Timestamp::UNIX_EPOCH);
        let told = told.unwrap();
        assert_eq!((told.len(), &told[0]), (2, &others));
        assert_eq!((&told[1]["status"], &told[1]["reason"]), (&json!("False"), &json!("SessionInvalid")));
        assert!(told[1]["message"].as_str().unwrap().contains("invalid type: integer `7`"), "{told:?}");
        assert_eq!(conditions(&unreadable(&json!(told)), Timestamp::UNIX_EPOCH), None);
    }
}
