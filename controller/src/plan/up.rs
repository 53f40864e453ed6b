//! A desktop that is up.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vdi_api::VDISessionStatus;

use super::{Plan, deadline::after, status_after};
use crate::{
    accelerated::{self, Renderer},
    observe::Observed,
    reason::Reason,
    resources::pod_name,
};

pub fn running(seen: &Observed, now: Timestamp) -> Plan {
    // By the clock that will end it: nodes have clocks of their own.
    let start_time = seen.status.start_time.clone().unwrap_or(Time(now));
    let started = VDISessionStatus {
        start_time: Some(start_time.clone()),
        pod_name: Some(pod_name(&seen.name)),
        template_generation: seen.terms.as_ref().map(|terms| terms.template_generation),
        ..seen.status.clone()
    };
    let message = "the desktop is up".to_owned();
    let mut plan = Plan::publish(status_after(&started, seen, Reason::Running, message, now));
    let verdict = accelerated::condition(seen, now);
    if verdict.reason == accelerated::SOFTWARE {
        plan.notices.push(accelerated::notice(&verdict, &start_time.0));
    }
    plan.status.conditions.retain(|condition| condition.type_ != accelerated::CONDITION);
    plan.status.conditions.insert(0, verdict);
    let is_worth_asking_again =
        seen.renderer == Renderer::Unreadable && now < after(start_time.0, accelerated::PATIENCE);
    plan.wake_by(is_worth_asking_again.then(|| after(now, accelerated::ASK_AGAIN)))
}
