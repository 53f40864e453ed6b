//! Events that warn users, besides those for a change of the status.

use std::time::Duration;

use jiff::Timestamp;
use vdi_api::{Expiry, Phase};

use super::action::{Notice, Plan};
use crate::model::{Template, time::before};

/// When users are warned, before the end of a running session. The last warning comes first.
const WARNINGS: [Duration; 2] = [Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)];

/// Warns of the end that the plan's status gives, and wakes up for the next warning.
pub fn add(plan: &mut Plan, now: Timestamp) {
    let (Phase::Running | Phase::Creating | Phase::Pending, Some(start)) = (plan.status.phase, &plan.status.start_time)
    else {
        return;
    };
    let what = match plan.status.expiry {
        Some(Expiry::Timeout) => "the session times out soon; raise spec.timeout to extend it. It ends",
        Some(Expiry::MaxTimeout) => "the template's longest session time is nearly over. The session ends",
        Some(Expiry::Idle) => "nobody is using the desktop. The session ends",
        _ => return,
    };
    let Some(end) = plan.status.expires_at.as_ref().map(|time| time.0).filter(|end| now < *end) else { return };
    // A session that is shorter than the warning needs none.
    let times = WARNINGS.map(|ahead| before(end, ahead)).into_iter().filter(|at| *at > start.0);
    let (given, to_come): (Vec<_>, Vec<_>) = times.partition(|at| now >= *at);
    if !given.is_empty() {
        let key = format!("{end}-{}", to_come.len());
        plan.notices.push(Notice { reason: "ExpiresSoon", message: format!("{what} at {end}"), key });
    }
    plan.wake = plan.wake.into_iter().chain(to_come).min();
}

/// Given once for every session that starts from such a template.
pub fn of_deprecation(template: &Template) -> Option<Notice> {
    let deprecated = template.deprecated.as_ref()?;
    let instead = deprecated.replacement.as_ref().map(|name| format!("; use {name:?} instead")).unwrap_or_default();
    let message = format!("VDITemplate {:?} is deprecated: {}{instead}", template.name, deprecated.message);
    Some(Notice { reason: "TemplateDeprecated", message, key: template.name.clone() })
}
