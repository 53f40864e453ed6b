use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use vdi_api::{Phase, VDISessionStatus};

use super::deadline;
use crate::{accelerated, observe::Observed, reason::Reason};

/// The status of a session that is where it is for this reason.
pub fn status(seen: &Observed, reason: Reason, message: String, now: Timestamp) -> VDISessionStatus {
    status_after(&seen.status, seen, reason, message, now)
}

/// The same, after another status than the one that is published.
pub fn status_after(
    last: &VDISessionStatus,
    seen: &Observed,
    reason: Reason,
    message: String,
    now: Timestamp,
) -> VDISessionStatus {
    let phase = reason.phase();
    let condition_status = if phase == Phase::Running { "True" } else { "False" };
    let same = last.ready().filter(|condition| condition.status == condition_status);
    let ready = Condition {
        type_: "Ready".to_owned(),
        status: condition_status.to_owned(),
        reason: reason.to_string(),
        message: printable(&message),
        last_transition_time: same.map_or(Time(now), |condition| condition.last_transition_time.clone()),
        observed_generation: seen.generation,
    };
    // What it renders with is known of a desktop that is up, and not of the next one.
    let is_kept = |condition: &&Condition| match condition.type_.as_str() {
        "Ready" => false,
        accelerated::CONDITION => phase != Phase::Pending,
        _ => true,
    };
    let others = last.conditions.iter().filter(is_kept).cloned();
    let end = deadline::of_session(seen, last);
    VDISessionStatus {
        phase,
        url: seen.url.clone(),
        conditions: others.chain([ready]).collect(),
        observed_generation: seen.generation,
        expires_at: end.as_ref().map(|end| Time(end.at)),
        expiry: end.map(|end| end.expiry),
        queue: None,
        ..last.clone()
    }
}

/// Words of others, such as a registry's or a desktop's, are shown in terminals and pages: nothing in them may move a cursor, or
/// turn the direction of what follows.
fn printable(message: &str) -> String {
    let is_shown = |c: char| {
        !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    message.chars().filter(|c| *c == '\n' || is_shown(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_message_moves_a_cursor_or_turns_the_direction_of_what_follows() {
        let hostile = "one\n\u{1b}[2Jtwo\r\0\u{9b}3m \u{202e}eerht\u{2066} ä\tfour";
        assert_eq!(printable(hostile), "one\n[2Jtwo3m eerht äfour");
    }
}
