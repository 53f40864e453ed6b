use jiff::Timestamp;
use vdi_api::VDISessionStatus;

use super::{
    action::{Action, Plan},
    status::status_after,
};
use crate::model::{Observed, PodState, Reason};

pub fn suspend(seen: &Observed, now: Timestamp) -> Plan {
    match seen.pod {
        PodState::Absent | PodState::Foreign => {
            let message = "suspended, holding no GPU; set spec.suspend to false to resume".to_owned();
            Plan::publish(VDISessionStatus {
                failed_pods: 0,
                ..status_after(&stopped(&seen.status), seen, Reason::Suspended, message, now)
            })
        }
        PodState::Leaving(_) | PodState::Unreadable => Plan::publish(seen.status.clone()),
        _ => Plan { actions: vec![Action::DeletePod], ..Plan::publish(seen.status.clone()) },
    }
}

/// Without what it had from running: neither a pod nor a clock.
fn stopped(status: &VDISessionStatus) -> VDISessionStatus {
    VDISessionStatus { pod_name: None, start_time: None, template_generation: None, ..status.clone() }
}
