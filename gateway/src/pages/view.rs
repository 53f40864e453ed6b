//! What users see of a session, while they wait for its desktop and while they use it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use vdi_api::Phase;

use crate::sessions::{Obstacle, Session};

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Whether the desktop can be opened.
    pub is_running: bool,
    /// Whether open connections to it stay open.
    pub stays: bool,
    /// Whether the desktop will open without anybody's help.
    pub is_coming: bool,
    pub title: String,
    pub text: String,
    /// What happens next.
    pub then: &'static str,
    /// In seconds, if the end is known.
    pub ends_in: Option<i64>,
    /// Whether to offer more time.
    pub extends: bool,
    /// In seconds, if the session ends soon unless somebody uses it.
    pub idle_ends_in: Option<i64>,
}

/// How long before an idle session ends its user is asked; at most half of the idle timeout.
const WARNING: Duration = Duration::from_secs(5 * 60);

impl View {
    /// `idle` is how long ago the desktop last had input through this gateway, if it ever had.
    pub fn of(session: &Session, idle: Option<Duration>, now: Timestamp) -> Self {
        let is_running = session.running().is_some();
        let obstacle = session.obstacle.as_ref().filter(|_| session.phase == Phase::Running);
        let is_coming = match session.phase {
            _ if obstacle.is_some() => false,
            Phase::Pending => session.ready.reason != "Suspended",
            Phase::Creating | Phase::Running => true,
            Phase::Terminating | Phase::Failed => false,
        };
        Self {
            is_running,
            stays: session.keeps_connections(),
            is_coming,
            title: title(session),
            text: obstacle.map_or_else(|| session.ready.message.clone(), but),
            then: match (is_coming, session.phase) {
                _ if obstacle.is_some() => {
                    "Ask your administrator. This page opens the desktop once there is a gateway that can."
                }
                (true, _) => "This page opens the desktop as soon as it is running.",
                (false, Phase::Pending) => "This page opens the desktop once the session is resumed.",
                (false, _) => "Files in your home directory are kept. To continue, start a new session.",
            },
            ends_in: session.ends.filter(|_| is_running).map(|end| end.duration_since(now).as_secs()),
            extends: session.extendable(now).is_some(),
            idle_ends_in: idle_ends_in(session, idle, now).filter(|_| is_running),
        }
    }
}

fn but(obstacle: &Obstacle) -> String {
    format!("the desktop is up, but {obstacle}")
}

fn title(session: &Session) -> String {
    match (session.phase, session.ahead) {
        (Phase::Pending, _) if session.ready.reason == "Suspended" => "Suspended".to_owned(),
        (Phase::Pending, Some(0)) => "Waiting: next in line".to_owned(),
        (Phase::Pending, Some(1)) => "Waiting: 1 session is ahead".to_owned(),
        (Phase::Pending, Some(ahead)) => format!("Waiting: {ahead} sessions are ahead"),
        (Phase::Pending, None) => "Waiting".to_owned(),
        (Phase::Creating, _) => "Starting".to_owned(),
        (Phase::Running, _) => "Running".to_owned(),
        (Phase::Terminating, _) => "This session has ended".to_owned(),
        (Phase::Failed, _) => "This session has failed".to_owned(),
    }
}

/// The controller does not know yet of input in the last few seconds.
fn idle_ends_in(session: &Session, idle: Option<Duration>, now: Timestamp) -> Option<i64> {
    let timeout = session.idle_timeout?.duration();
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let left = session.idle_ends?.duration_since(now).as_secs().max(0);
    let left = left.max(idle.map_or(0, |idle| seconds(timeout.saturating_sub(idle))));
    (left <= seconds(WARNING.min(timeout / 2))).then_some(left)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        fixture::{noon, session},
        sessions::ReadyCondition,
    };

    fn view(session: &Session) -> View {
        View::of(session, None, noon())
    }

    #[test]
    fn each_phase_has_its_title_and_its_text() {
        let ready =
            |reason: &str, ahead| (ReadyCondition { reason: reason.to_owned(), message: "why".to_owned() }, ahead);
        for (phase, (ready, ahead), title, is_coming) in [
            (Phase::Pending, ready("Queued", Some(3)), "Waiting: 3 sessions are ahead", true),
            (Phase::Pending, ready("Queued", Some(1)), "Waiting: 1 session is ahead", true),
            (Phase::Pending, ready("Unschedulable", Some(0)), "Waiting: next in line", true),
            (Phase::Pending, ready("HomeInUse", None), "Waiting", true),
            (Phase::Pending, ready("Suspended", None), "Suspended", false),
            (Phase::Creating, ready("Starting", None), "Starting", true),
            (Phase::Terminating, ready("Expired", None), "This session has ended", false),
            (Phase::Failed, ready("CrashLoop", None), "This session has failed", false),
        ] {
            let view = view(&Session { phase, ready, ahead, desktop: None, ..session() });
            assert_eq!((&*view.title, &*view.text, view.is_coming), (title, "why", is_coming));
            assert!(!view.is_running);
        }
        assert!(view(&session()).is_running);
        let without = view(&Session { desktop: None, ..session() });
        assert!(!without.is_running && without.is_coming, "its pod is seen in a moment");
    }

    #[test]
    fn a_desktop_that_this_gateway_cannot_open_is_not_waited_for_and_its_page_says_why() {
        let newer = Obstacle::Protocol("h2c".to_owned());
        let elsewhere = Obstacle::Address("10.1.2.3".parse().unwrap());
        let session = |obstacle| Session { obstacle: Some(obstacle), desktop: None, ..session() };
        for (obstacle, words) in [
            (
                newer.clone(),
                "the desktop is up, but this version of the gateway doesn't know its protocol, h2c: upgrade",
            ),
            (
                elsewhere,
                "the desktop is up, but this gateway may not connect to its address, 10.1.2.3: the pods' networks",
            ),
        ] {
            let seen = view(&session(obstacle));
            assert!(!seen.is_running && !seen.is_coming && seen.text.contains(words), "{seen:?}");
            assert!(seen.then.starts_with("Ask your administrator."), "{seen:?}");
        }
        let session = session(newer);
        let starting = view(&Session { phase: Phase::Creating, ..session });
        assert!(starting.is_coming && starting.text.is_empty(), "it is the controller's turn: {starting:?}");
    }

    #[test]
    fn the_time_left_is_shown_while_the_desktop_runs() {
        let session = Session { ends: Some(noon() + SignedDuration::from_mins(10)), ..session() };
        assert_eq!(view(&session).ends_in, Some(600));
        assert_eq!(view(&Session { phase: Phase::Creating, ..session }).ends_in, None);
    }

    #[test]
    fn an_idle_user_is_asked_in_time() {
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
