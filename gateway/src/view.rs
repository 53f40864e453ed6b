//! What somebody who waits for a desktop, or sits at one, is told about it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use vdi_api::Phase;

use crate::{extend::offered, session::Session};

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Whether the desktop can be opened.
    pub is_running: bool,
    /// Whether what is open to it stays open.
    pub stays: bool,
    /// Whether it is on its way.
    pub is_coming: bool,
    pub title: String,
    pub text: String,
    /// What comes next.
    pub then: &'static str,
    /// In seconds, where a time is known at which it ends.
    pub ends_in: Option<i64>,
    /// Whether there can be more time, and it is time to say so.
    pub extends: bool,
    /// In seconds, when it will end soon unless somebody does something.
    pub idle_ends_in: Option<i64>,
}

/// So long before an idle desktop ends, somebody is asked for; where that is more than half of the time, at the half.
const ASKED_FOR: Duration = Duration::from_secs(5 * 60);

impl View {
    /// `idle` is for how long nobody has done anything at the desktop through this gateway, where anybody ever has.
    pub fn of(session: &Session, idle: Option<Duration>, now: Timestamp) -> Self {
        let is_running = session.running().is_some();
        let is_coming = match session.phase {
            Phase::Pending => session.told.reason != "Suspended",
            Phase::Creating | Phase::Running => true,
            Phase::Terminating | Phase::Failed => false,
        };
        Self {
            is_running,
            stays: session.stays(),
            is_coming,
            title: title(session),
            text: session.told.message.clone(),
            then: match (is_coming, session.phase) {
                (true, _) => "This page opens the desktop as soon as it is up.",
                (false, Phase::Pending) => "This page opens the desktop once it is resumed.",
                (false, _) => "Files in its home stay. To go on, start a new session.",
            },
            ends_in: session.ends.filter(|_| is_running).map(|end| end.duration_since(now).as_secs()),
            extends: offered(session, now).is_some(),
            idle_ends_in: idle_ends_in(session, idle, now).filter(|_| is_running),
        }
    }
}

fn title(session: &Session) -> String {
    match (session.phase, session.told.ahead) {
        (Phase::Pending, _) if session.told.reason == "Suspended" => "Suspended".to_owned(),
        (Phase::Pending, Some(0)) => "Waiting: next in line".to_owned(),
        (Phase::Pending, Some(1)) => "Waiting: 1 session is ahead".to_owned(),
        (Phase::Pending, Some(ahead)) => format!("Waiting: {ahead} sessions are ahead"),
        (Phase::Pending, None) => "Waiting for a place".to_owned(),
        (Phase::Creating, _) => "Starting".to_owned(),
        (Phase::Running, _) => "Running".to_owned(),
        (Phase::Terminating, _) => "This session has ended".to_owned(),
        (Phase::Failed, _) => "This session has failed".to_owned(),
    }
}

/// What was done here in the last seconds, the controller doesn't know yet.
fn idle_ends_in(session: &Session, idle: Option<Duration>, now: Timestamp) -> Option<i64> {
    let timeout = session.idle_timeout?.duration();
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let left = session.idle_ends?.duration_since(now).as_secs().max(0);
    let left = left.max(idle.map_or(0, |idle| seconds(timeout.saturating_sub(idle))));
    (left <= seconds(ASKED_FOR.min(timeout / 2))).then_some(left)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        fixture::{noon, session},
        session::Told,
    };

    fn view(session: &Session) -> View {
        View::of(session, None, noon())
    }

    #[test]
    fn each_phase_has_its_words() {
        let told = |reason: &str, ahead| Told { reason: reason.to_owned(), message: "why".to_owned(), ahead };
        for (phase, told, title, is_coming) in [
            (Phase::Pending, told("Queued", Some(3)), "Waiting: 3 sessions are ahead", true),
            (Phase::Pending, told("Queued", Some(1)), "Waiting: 1 session is ahead", true),
            (Phase::Pending, told("Unschedulable", Some(0)), "Waiting: next in line", true),
            (Phase::Pending, told("HomeInUse", None), "Waiting for a place", true),
            (Phase::Pending, told("Suspended", None), "Suspended", false),
            (Phase::Creating, told("Starting", None), "Starting", true),
            (Phase::Terminating, told("Expired", None), "This session has ended", false),
            (Phase::Failed, told("CrashLoop", None), "This session has failed", false),
        ] {
            let view = view(&Session { phase, told, desktop: None, ..session() });
            assert_eq!((&*view.title, &*view.text, view.is_coming), (title, "why", is_coming));
            assert!(!view.is_running);
        }
        assert!(view(&session()).is_running);
        let without = view(&Session { desktop: None, ..session() });
        assert!(!without.is_running && without.is_coming, "its pod is seen in a moment");
    }

    #[test]
    fn the_time_that_is_left_is_told_while_it_runs() {
        let session = Session { ends: Some(noon() + SignedDuration::from_mins(10)), ..session() };
        assert_eq!(view(&session).ends_in, Some(600));
        assert_eq!(view(&Session { phase: Phase::Creating, ..session }).ends_in, None);
    }

    #[test]
    fn who_has_been_idle_for_long_is_asked_for_in_time() {
        let ends_in = |timeout: &str, minutes: i64| {
            let idle_ends = Some(noon() + SignedDuration::from_mins(minutes));
            Session { idle_timeout: timeout.parse().ok(), idle_ends, ..session() }
        };
        let asked = |timeout: &str, minutes: i64| View::of(&ends_in(timeout, minutes), None, noon()).idle_ends_in;
        assert_eq!((asked("30m", 6), asked("30m", 5), asked("30m", -1)), (None, Some(300), Some(0)));
        assert_eq!((asked("4m", 3), asked("4m", 2)), (None, Some(120)));
        let used = |seconds| View::of(&ends_in("4m", 1), Some(Duration::from_secs(seconds)), noon()).idle_ends_in;
        assert_eq!(
            (used(5), used(150), used(1 << 30)),
            (None, Some(90), Some(60)),
            "the controller will know in a moment"
        );
        let not_near = Session { idle_ends: None, ..ends_in("4m", 1) };
        assert_eq!(View::of(&not_near, Some(Duration::from_secs(1 << 30)), noon()).idle_ends_in, None);
        let without = Session { idle_timeout: None, ..ends_in("4m", 1) };
        assert_eq!(View::of(&without, None, noon()).idle_ends_in, None);
    }
}
