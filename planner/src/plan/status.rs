use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use vdi_api::{Phase, VDISessionStatus, printable};

use super::{acceleration, deadline};
use crate::model::{Observed, Reason};

/// The status of a session for this reason.
pub fn status(seen: &Observed, reason: Reason, message: String, now: Timestamp) -> VDISessionStatus {
    status_after(&seen.status, seen, reason, message, now)
}

/// The same, following a status other than the published one.
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
        // Part of it may come from a registry or a desktop.
        message: printable(&message),
        last_transition_time: same.map_or(Time(now), |condition| condition.last_transition_time.clone()),
        observed_generation: seen.generation,
    };
    // The next pod may render with something else.
    let is_kept = |condition: &&Condition| match condition.type_.as_str() {
        "Ready" => false,
        acceleration::CONDITION => phase != Phase::Pending,
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
