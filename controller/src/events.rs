//! Events, each told once: its name follows from what it says, so telling it again is refused as already there.
//!
//! Those of the core group, because `kubectl describe` sorts events by `lastTimestamp`, which events.k8s.io refuses.

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

use crate::digest;

/// What there is to tell.
pub struct News<'a> {
    pub is_warning: bool,
    pub reason: &'a str,
    pub message: &'a str,
    /// What was being done about the session: its phase.
    pub action: String,
    /// Two news with the same key and reason, about the same session, are the same.
    pub key: &'a str,
}

/// An event that is lost is lost: the conditions say the same.
pub async fn tell(session: &VDISession, news: News<'_>, client: &Client, now: Timestamp) {
    let events: Api<Event> = Api::namespaced(client.clone(), &session.namespace().unwrap_or_default());
    match events.create(&PostParams::default(), &event(session, &news, now)).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => tracing::warn!(%error, reason = news.reason, "an event could not be written"),
        Ok(_) => {}
    }
}

fn event(session: &VDISession, news: &News, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta { name: Some(name(session, news)), namespace: session.namespace(), ..Default::default() },
        type_: Some(if news.is_warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(news.reason.to_owned()),
        message: Some(shortened(&one_line(news.message))),
        action: Some(news.action.clone()),
        event_time: Some(MicroTime(now)),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        reporting_component: Some("vdi-controller".to_owned()),
        reporting_instance: Some("vdi-controller".to_owned()),
        involved_object: ObjectReference { field_path: None, ..session.object_ref(&()) },
        ..Default::default()
    }
}

fn name(session: &VDISession, news: &News) -> String {
    let uid = session.uid().unwrap_or_default();
    let digest = digest::short(&format!("{uid}\n{}\n{}", news.reason, news.key));
    format!("{}.{digest}", session.name_any())
}

/// Of a log, the last line: events are rows of a table, and the condition has the whole of it.
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
    use super::*;
    use crate::fixture::{self, noon};

    fn news<'a>(reason: &'a str, key: &'a str) -> News<'a> {
        News { is_warning: true, reason, message: "words", action: "Failed".to_owned(), key }
    }

    #[test]
    fn an_event_has_the_same_name_each_time_it_is_told_and_others_have_another() {
        let session = fixture::session("alice-desktop");
        let first = name(&session, &news("Expired", "noon"));
        assert_eq!(name(&session, &news("Expired", "noon")), first);
        assert!(first.starts_with("alice-desktop."), "{first}");
        assert_ne!(name(&session, &news("Expired", "later")), first);
        assert_ne!(name(&session, &news("Idle", "noon")), first);
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
        let note =
            event(&fixture::session("a"), &News { message: &long, ..news("CrashLoop", "") }, noon()).message.unwrap();
        assert!(note.len() <= 1024 && note.ends_with("ä..."), "{}", note.len());
        assert_eq!(shortened("short"), "short");
    }
}
