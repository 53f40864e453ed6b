//! The time at which a session ends by itself: the earliest of several.

use std::time::Duration;

use jiff::Timestamp;
use vdi_api::{Expiry, Timeout, VDISessionStatus};

use crate::model::{
    Observed,
    time::{after, before},
};

/// How long before its end an idle session shows it. Showing idleness earlier would cost a write for every pause.
const IDLE_NOTICE: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Debug, PartialEq)]
pub struct Deadline {
    pub at: Timestamp,
    pub expiry: Expiry,
}

impl Deadline {
    /// Whether it has passed. Idleness counts only once input is known up to that moment: the last seconds may have brought some.
    pub fn is_over(&self, seen: &Observed, now: Timestamp) -> bool {
        let is_known = self.expiry != Expiry::Idle || seen.idle.as_ref().is_some_and(|idle| idle.as_of >= self.at);
        now >= self.at && is_known
    }
}

/// When the session's time is up, with this status: known once its desktop ran, and moved by raising `spec.timeout`.
pub fn of_session(seen: &Observed, status: &VDISessionStatus) -> Option<Deadline> {
    let start = status.start_time.as_ref()?.0;
    let after_start = |length: Timeout, expiry| Deadline { at: after(start, length.duration()), expiry };
    let timeout = match &seen.spec {
        Ok(spec) => Some(after_start(spec.timeout, Expiry::Timeout)),
        // A published deadline stays.
        Err(_) => status.expires_at.as_ref().map(|at| Deadline { at: at.0, expiry: Expiry::Timeout }),
    };
    let max = seen.pinned.as_ref().and_then(|pinned| pinned.max_timeout);
    let max = max.map(|max| after_start(max, Expiry::MaxTimeout));
    let idle = idle(seen, start).filter(|end| is_to_be_shown(seen, end));
    [timeout, max, idle].into_iter().flatten().min_by_key(|deadline| deadline.at)
}

/// When time alone will change what [`of_session`] returns, or when that passes.
pub fn next_look(seen: &Observed, status: &VDISessionStatus, now: Timestamp) -> Option<Timestamp> {
    /// How often the input of an idle desktop is looked up again.
    const LOOK_AGAIN: Duration = Duration::from_secs(10);
    let end = of_session(seen, status)?;
    let start = status.start_time.as_ref()?.0;
    let idle = idle(seen, start).map(|end| before(end.at, idle_notice(seen)));
    let idle = idle.map(|notice| if now < notice { notice } else { after(now, LOOK_AGAIN) });
    [Some(end.at).filter(|at| now < *at), idle].into_iter().flatten().min()
}

/// Whether it is known that there was no input until shortly before that end.
fn is_to_be_shown(seen: &Observed, idle: &Deadline) -> bool {
    seen.idle.as_ref().is_some_and(|known| known.as_of >= before(idle.at, idle_notice(seen)))
}

fn idle(seen: &Observed, start: Timestamp) -> Option<Deadline> {
    let timeout = seen.pinned.as_ref()?.idle_timeout?;
    let since = seen.idle.as_ref()?.since.max(start);
    Some(Deadline { at: after(since, timeout.duration()), expiry: Expiry::Idle })
}

fn idle_notice(seen: &Observed) -> Duration {
    let timeout = seen.pinned.as_ref().and_then(|pinned| pinned.idle_timeout);
    timeout.map_or(IDLE_NOTICE, |timeout| IDLE_NOTICE.min(timeout.duration() / 2))
}
