//! What users are told by events, besides the changes of the status.

use std::time::Duration;

use jiff::Timestamp;
use vdi_api::{Expiry, Phase};

use super::{Plan, deadline::before};
use crate::template::Template;

/// An event of its own. The same notice is never told twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub reason: &'static str,
    pub message: String,
    /// Two notices with the same key and reason, about the same session, are the same.
    pub key: String,
}

/// Before the end of a running session, the last one first.
const WARNINGS: [Duration; 2] = [Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)];

impl Plan {
    /// Warns of the end that the plan's status gives, and wakes up for the next warning.
    pub(super) fn warn_of_the_end(&mut self, now: Timestamp) {
        let (Phase::Running | Phase::Creating | Phase::Pending, Some(start)) =
            (self.status.phase, &self.status.start_time)
        else {
            return;
        };
        let what = match self.status.expiry {
            Some(Expiry::Timeout) => "the session's time is nearly up; raise spec.timeout to go on. It ends",
            Some(Expiry::MaxTimeout) => "the longest time that its template allows is nearly up. The session ends",
            Some(Expiry::Idle) => "nobody uses the desktop. The session ends",
            _ => return,
        };
        let Some(end) = self.status.expires_at.as_ref().map(|time| time.0).filter(|end| now < *end) else { return };
        // A session that is shorter than the warning needs none.
        let times = WARNINGS.map(|ahead| before(end, ahead)).into_iter().filter(|at| *at > start.0);
        let (given, to_come): (Vec<_>, Vec<_>) = times.partition(|at| now >= *at);
        if !given.is_empty() {
            let key = format!("{end}-{}", to_come.len());
            self.notices.push(Notice { reason: "ExpiresSoon", message: format!("{what} at {end}"), key });
        }
        self.wake = self.wake.into_iter().chain(to_come).min();
    }
}

/// To be told once for every session that starts from such a template.
pub fn of_deprecation(template: &Template) -> Option<Notice> {
    let deprecated = template.deprecated.as_ref()?;
    let instead = deprecated.replacement.as_ref().map(|name| format!("; use {name:?} instead")).unwrap_or_default();
    let message = format!("VDITemplate {:?} is deprecated: {}{instead}", template.name, deprecated.message);
    Some(Notice { reason: "TemplateDeprecated", message, key: template.name.clone() })
}
