//! A desktop that is up.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vdi_api::{VDISessionStatus, desktop_pod::pod_name};

use super::{acceleration, action::Plan, status::status_after};
use crate::model::{Observed, Reason, Renderer, time::after};

pub fn running(seen: &Observed, now: Timestamp) -> Plan {
    // By the same clock that will end it, not the node's.
    let start_time = seen.status.start_time.clone().unwrap_or(Time(now));
    let started = VDISessionStatus {
        start_time: Some(start_time.clone()),
        pod_name: Some(pod_name(&seen.name)),
        template_generation: seen.pinned.as_ref().map(|pinned| pinned.template_generation),
        ..seen.status.clone()
    };
    let message = "the desktop is up".to_owned();
    let mut plan = Plan::publish(status_after(&started, seen, Reason::Running, message, now));
    let verdict = acceleration::condition(seen, now);
    if verdict.reason == acceleration::SOFTWARE {
        plan.notices.push(acceleration::notice(&verdict, &start_time.0));
    }
    plan.status.conditions.retain(|condition| condition.type_ != acceleration::CONDITION);
    plan.status.conditions.insert(0, verdict);
    let is_worth_asking_again =
        seen.renderer == Renderer::Unreadable && now < after(start_time.0, acceleration::PATIENCE);
    plan.wake_by(is_worth_asking_again.then(|| after(now, acceleration::ASK_AGAIN)))
}
