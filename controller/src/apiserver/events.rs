//! Events, each written once: its name is derived from what it says, so a second write is refused as already there.
//!
//! They are of the core group, because `kubectl describe` sorts events by `lastTimestamp`, which events.k8s.io refuses.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use vdi_api::VDISession;
use vdi_planner::digest;

/// What an event says.
pub struct SessionEvent<'a> {
    pub is_warning: bool,
    pub reason: &'a str,
    pub message: &'a str,
    /// The session's phase.
    pub action: String,
    /// Two events with the same key and reason, about the same session, are the same.
    pub key: &'a str,
}

/// Best effort: the session's conditions say the same.
pub async fn write(session: &VDISession, event: SessionEvent<'_>, client: &Client, now: Timestamp) {
    let events: Api<Event> = Api::namespaced(client.clone(), &session.namespace().unwrap_or_default());
    match events.create(&PostParams::default(), &object(session, &event, now)).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => tracing::warn!(%error, reason = event.reason, "an event could not be written"),
        Ok(_) => {}
    }
}

fn object(session: &VDISession, event: &SessionEvent, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta { name: Some(name(session, event)), namespace: session.namespace(), ..Default::default() },
        type_: Some(if event.is_warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(event.reason.to_owned()),
        message: Some(shortened(&one_line(event.message))),
        action: Some(event.action.clone()),
        event_time: Some(MicroTime(now)),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        reporting_component: Some("vdi-controller".to_owned()),
        reporting_instance: Some("vdi-controller".to_owned()),
        involved_object: ObjectReference { field_path: None, ..session.object_ref(&()) },
        ..Default::default()
    }
}

fn name(session: &VDISession, event: &SessionEvent) -> String {
    let uid = session.uid().unwrap_or_default();
    let digest = digest::short(&format!("{uid}\n{}\n{}", event.reason, event.key));
    format!("{}.{digest}", session.name_any())
}

/// Of a log, the last line: events are rows of a table, and the condition has all lines.
fn one_line(message: &str) -> Cow<'_, str> {
    match (message.split_once('\n'), message.trim_end().rsplit_once('\n')) {
        (Some((first, _)), Some((_, last))) => format!("{first} ... {last}").into(),
        _ => message.into(),
    }
}

/// The API server takes at most [1024 bytes].
///
/// [1024 bytes]: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
fn shortened(message: &str) -> String {
    const MOST: usize = 1024;
    if message.len() <= MOST {
        return message.to_owned();
    }
    let end = (0..=MOST - 3).rev().find(|at| message.is_char_boundary(*at)).unwrap_or_default();
    format!("{}...", &message[..end])
}

#[cfg(test)]
mod tests {
    use vdi_planner::fixture::{self, noon};

    use super::*;

    fn event<'a>(reason: &'a str, key: &'a str) -> SessionEvent<'a> {
        SessionEvent { is_warning: true, reason, message: "words", action: "Failed".to_owned(), key }
    }

    #[test]
    fn an_event_has_the_same_name_each_time_it_is_written_and_another_event_has_another() {
        let session = fixture::session("alice-desktop");
        let first = name(&session, &event("Expired", "noon"));
        assert_eq!(name(&session, &event("Expired", "noon")), first);
        assert!(first.starts_with("alice-desktop."), "{first}");
        assert_ne!(name(&session, &event("Expired", "later")), first);
        assert_ne!(name(&session, &event("Idle", "noon")), first);
    }

    #[test]
    fn of_a_log_an_event_has_the_last_line() {
        assert_eq!(
            one_line("it crashed with exit code 1 (Error):\none\ntwo\n"),
            "it crashed with exit code 1 (Error): ... two"
        );
        assert_eq!(one_line("suspended"), "suspended");
        assert_eq!(one_line("ends in a line break\n"), "ends in a line break\n");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "ä".repeat(1000);
        let note = object(&fixture::session("a"), &SessionEvent { message: &long, ..event("CrashLoop", "") }, noon())
            .message
            .unwrap();
        assert!(note.len() <= 1024 && note.ends_with("ä..."), "{}", note.len());
        assert_eq!(shortened("short"), "short");
    }
}
