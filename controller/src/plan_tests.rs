use jiff::SignedDuration;
use vdi_api::{Invalid, Memory};

use super::*;
use crate::{
    fixture::{self, noon},
    observe::FieldInvalid,
};

/// What the controller publishes and then sees again.
fn then(seen: &Observed, now: Timestamp) -> Observed {
    Observed { status: plan(seen, now).status, ..seen.clone() }
}

fn with_pod(seen: Observed, pod: PodState) -> Observed {
    Observed { pod, ..seen }
}

fn ready_since(time: Timestamp) -> PodState {
    PodState::Ready { since: Some(time), ip: Some("10.0.0.7".to_owned()) }
}

fn starting_since(time: Timestamp) -> PodState {
    PodState::Starting { scheduled: Some(time), image_error: None }
}

fn starting() -> Observed {
    with_pod(fixture::observed(), starting_since(noon()))
}

/// A session whose desktop has been up since noon.
fn running() -> Observed {
    then(&with_pod(fixture::observed(), ready_since(noon())), noon())
}

fn suspended(mut seen: Observed) -> Observed {
    if let Ok(spec) = &mut seen.spec {
        spec.suspend = true;
    }
    seen
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// Phase, and the reason of the condition `Ready`.
fn said(plan: &Plan) -> (Phase, &str) {
    (plan.status.phase, plan.status.ready().map_or("", |ready| &ready.reason))
}

#[test]
fn a_new_session_gets_its_pod_and_nothing_is_written_about_it() {
    let seen = fixture::observed();
    let plan = plan(&seen, noon());
    assert!(matches!(plan.action, Some(Action::CreatePod(_))));
    assert_eq!(plan.status, seen.status);
}

#[test]
fn a_pod_that_only_waits_for_the_scheduler_is_not_worth_a_write() {
    let seen = with_pod(fixture::observed(), PodState::Unscheduled { why: None });
    assert_eq!(plan(&seen, noon()), Plan::publish(seen.status));
}

#[test]
fn a_missing_template_is_named_and_the_session_starts_once_it_is_there() {
    let seen = Observed { template: None, ..fixture::observed() };
    let waiting = plan(&seen, noon());
    assert_eq!(said(&waiting), (Phase::Pending, "TemplateNotFound"));
    assert_eq!(waiting.status.ready().unwrap().message, "no VDITemplate is named \"ubuntu-desktop\"");
    assert_eq!(waiting.action, None);

    let there = Observed { template: Some(Ok(fixture::template())), ..then(&seen, noon()) };
    assert!(matches!(plan(&there, noon()).action, Some(Action::CreatePod(_))));
    assert_eq!(said(&plan(&there, noon())), (Phase::Pending, "Scheduling"));
}

#[test]
fn a_template_that_may_be_on_its_way_is_not_called_missing_yet() {
    let seen = Observed { template: None, created: noon(), ..fixture::observed() };
    let grace = noon() + Duration::from_secs(2);
    assert_eq!(plan(&seen, noon()), Plan { wake: Some(grace), ..Plan::publish(seen.status.clone()) });
    assert_eq!(said(&plan(&seen, grace)), (Phase::Pending, "TemplateNotFound"));
}

#[test]
fn a_template_or_session_that_an_older_schema_let_through_is_explained() {
    let invalid = || FieldInvalid { field: "spec.sharedMemory", invalid: Invalid::text("much", Memory::ALLOWED) };
    let seen = Observed { template: Some(Err(invalid())), ..fixture::observed() };
    assert_eq!(said(&plan(&seen, noon())), (Phase::Pending, "TemplateInvalid"));
    let seen = Observed { spec: Err(invalid()), ..fixture::observed() };
    let plan = plan(&seen, noon());
    assert_eq!(said(&plan), (Phase::Pending, "SessionInvalid"));
    assert!(plan.status.ready().unwrap().message.starts_with("spec.sharedMemory: found \"much\""));
}

#[test]
fn the_schedulers_words_are_passed_on() {
    let why = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.".to_owned();
    let seen = with_pod(fixture::observed(), PodState::Unscheduled { why: Some(why.clone()) });
    let plan = plan(&seen, noon());
    assert_eq!(said(&plan), (Phase::Pending, "Unschedulable"));
    assert_eq!(plan.status.ready().unwrap().message, why);
}

#[test]
fn from_create_to_running_there_are_two_writes() {
    let creating = then(&starting(), noon());
    assert_eq!(creating.status.phase, Phase::Creating);
    assert_eq!(then(&creating, noon() + Duration::from_secs(3)), creating, "nothing new is nothing to write");
    let running =
        then(&with_pod(creating, ready_since(noon() + Duration::from_secs(9))), noon() + Duration::from_secs(9));
    assert_eq!(running.status.phase, Phase::Running);
    assert_eq!(then(&running, noon() + hours(1)), running, "a steady state makes no writes");
}

#[test]
fn a_running_session_says_where_since_when_and_until_when() {
    let status = running().status;
    assert_eq!(status.phase, Phase::Running);
    assert_eq!(status.ready().unwrap().status, "True");
    assert_eq!(status.url.as_deref(), Some("https://alice.vdi.example.com"));
    assert_eq!(status.start_time, Some(Time(noon())));
    assert_eq!(status.expires_at, Some(Time(noon() + hours(8))));
    assert_eq!(status.pod_name.as_deref(), Some("vdi-alice-desktop"));
    assert_eq!(status.observed_generation, Some(1));
}

#[test]
fn raising_the_timeout_extends_a_running_session() {
    let mut seen = running();
    seen.spec.as_mut().unwrap().timeout = "10h".parse().unwrap();
    let plan = plan(&seen, noon() + hours(9));
    assert_eq!(said(&plan), (Phase::Running, "Running"));
    assert_eq!(plan.status.expires_at, Some(Time(noon() + hours(10))));
    assert_eq!(plan.wake, Some(noon() + hours(10)));
}

#[test]
fn at_its_deadline_a_session_is_first_shown_as_terminating_and_then_deleted() {
    let seen = running();
    let last_second = noon() + hours(8) - Duration::from_secs(1);
    assert_eq!(said(&plan(&seen, last_second)), (Phase::Running, "Running"));

    let deadline = noon() + hours(8);
    let first = plan(&seen, deadline);
    assert_eq!((said(&first), first.action.as_ref()), ((Phase::Terminating, "Expired"), None));
    let second = plan(&then(&seen, deadline), deadline);
    assert_eq!(said(&second), (Phase::Terminating, "Expired"));
    assert_eq!(second.action, Some(Action::DeleteSession));
}

#[test]
fn a_deadline_that_passed_while_the_controller_was_down_is_kept() {
    assert_eq!(said(&plan(&running(), noon() + hours(100))), (Phase::Terminating, "Expired"));
}

#[test]
fn an_expired_session_that_is_being_deleted_keeps_its_reason() {
    let seen = Observed { deleting: true, ..then(&running(), noon() + hours(8)) };
    assert_eq!(plan(&seen, noon() + hours(8)), Plan::publish(seen.status));
    let by_hand = Observed { deleting: true, ..running() };
    assert_eq!(said(&plan(&by_hand, noon())), (Phase::Terminating, "Deleted"));
}

#[test]
fn an_image_that_cannot_be_pulled_is_explained_once_and_fails_at_the_start_deadline() {
    let failing = |text: &str| PodState::Starting { scheduled: Some(noon()), image_error: Some(text.to_owned()) };
    let seen = then(&with_pod(fixture::observed(), failing("not found")), noon());
    assert_eq!(seen.status.phase, Phase::Creating);
    assert_eq!(seen.message(), "the desktop's image can't be pulled: not found");

    // The kubelet's words change with every try; they aren't written again.
    let seen = with_pod(seen, failing("back-off"));
    let later = plan(&seen, noon() + Duration::from_secs(60));
    assert_eq!(later, Plan { wake: Some(noon() + Duration::from_secs(300)), ..Plan::publish(seen.status.clone()) });

    let late = plan(&seen, noon() + Duration::from_secs(300));
    assert_eq!(said(&late), (Phase::Failed, "StartDeadlineExceeded"));
    assert!(late.status.ready().unwrap().message.ends_with("can't be pulled: not found"));
}

#[test]
fn a_start_deadline_holds_although_the_template_is_gone() {
    let seen = Observed { template: None, ..then(&starting(), noon()) };
    assert_eq!(said(&plan(&seen, noon() + Duration::from_secs(299))), (Phase::Creating, "Starting"));
    assert_eq!(said(&plan(&seen, noon() + Duration::from_secs(300))), (Phase::Failed, "StartDeadlineExceeded"));
}

#[test]
fn a_failed_session_gives_its_gpu_back_and_is_removed_after_its_retention() {
    let failed = then(&starting(), noon() + Duration::from_secs(300));
    let removal = noon() + Duration::from_secs(300 + 3600);
    assert_eq!(failed.status.expires_at, Some(Time(removal)));

    let next = plan(&failed, noon() + Duration::from_secs(301));
    assert_eq!((next.action, next.wake), (Some(Action::DeletePod), Some(removal)));
    let without_pod = with_pod(failed, PodState::Absent);
    assert_eq!(plan(&without_pod, removal - Duration::from_secs(1)).action, None, "it never starts again by itself");
    assert_eq!(plan(&without_pod, removal).action, Some(Action::DeleteSession));
}

#[test]
fn a_desktop_that_ended_or_vanished_fails_its_session_and_is_not_started_again() {
    let ended = with_pod(running(), PodState::Ended { why: "the desktop ended with exit code 1 (Error)".to_owned() });
    assert_eq!(said(&plan(&ended, noon())), (Phase::Failed, "DesktopEnded"));
    let vanished = with_pod(running(), PodState::Absent);
    let plan = plan(&vanished, noon());
    assert_eq!((said(&plan), plan.action.as_ref()), ((Phase::Failed, "PodLost"), None));
}

#[test]
fn a_pod_that_somebody_deleted_is_awaited_before_anything_is_said() {
    let seen = with_pod(running(), PodState::Leaving);
    assert_eq!(plan(&seen, noon()), Plan::publish(seen.status));
}

#[test]
fn a_desktop_that_stops_answering_is_not_running_but_keeps_its_clock() {
    let seen = then(&with_pod(running(), starting_since(noon())), noon() + hours(1));
    assert_eq!((seen.status.phase, seen.status.start_time.clone()), (Phase::Creating, Some(Time(noon()))));
    assert_eq!(said(&plan(&seen, noon() + hours(2))), (Phase::Creating, "NotResponding"), "no start deadline again");

    let back = then(&with_pod(seen, ready_since(noon() + hours(3))), noon() + hours(3));
    assert_eq!(back.status.expires_at, Some(Time(noon() + hours(8))));
}

#[test]
fn a_foreign_pod_of_the_same_name_is_left_alone() {
    let plan = plan(&with_pod(fixture::observed(), PodState::Foreign), noon());
    assert_eq!((said(&plan), plan.action.as_ref()), ((Phase::Pending, "PodNameTaken"), None));
}

#[test]
fn suspending_frees_the_gpu_before_it_is_shown_and_resuming_starts_the_clock_anew() {
    let seen = suspended(running());
    let first = plan(&seen, noon() + hours(1));
    assert_eq!((said(&first), first.action.as_ref()), ((Phase::Running, "Running"), Some(&Action::DeletePod)));
    let leaving = with_pod(seen, PodState::Leaving);
    assert_eq!(said(&plan(&leaving, noon() + hours(1))), (Phase::Running, "Running"));

    let gone = then(&with_pod(leaving, PodState::Absent), noon() + hours(1));
    assert_eq!(said(&plan(&gone, noon() + hours(100))), (Phase::Pending, "Suspended"));
    assert_eq!((gone.status.start_time.clone(), gone.status.expires_at.clone()), (None, None));

    let resumed = Observed { spec: Ok(fixture::spec()), ..gone };
    assert!(matches!(plan(&resumed, noon() + hours(100)).action, Some(Action::CreatePod(_))));
    let again = then(&with_pod(resumed, ready_since(noon() + hours(101))), noon() + hours(101));
    assert_eq!(again.status.expires_at, Some(Time(noon() + hours(109))));
}

#[test]
fn other_peoples_conditions_are_kept_and_a_transition_time_changes_only_with_the_status() {
    let mut seen = starting();
    let other = Condition { type_: "Accelerated".to_owned(), ..then(&seen, noon()).status.ready().unwrap().clone() };
    seen.status.conditions = vec![other.clone()];
    let creating = then(&seen, noon());
    assert!(creating.status.conditions.contains(&other));

    let image_error = PodState::Starting { scheduled: Some(noon()), image_error: Some("gone".to_owned()) };
    let later = then(&with_pod(creating, image_error), noon() + Duration::from_secs(60));
    assert_eq!(later.status.ready().unwrap().last_transition_time, Time(noon()), "False stays False");
    let up = then(&with_pod(later, ready_since(noon())), noon() + Duration::from_secs(90));
    assert_eq!(up.status.ready().unwrap().last_transition_time, Time(noon() + Duration::from_secs(90)));
}

/// Every observation that can be put together, however unlikely, is planned for without a panic, and planning again from
/// what was published settles within three passes: nothing is ever looped on.
#[test]
fn every_plan_settles() {
    let pods = [
        PodState::Absent,
        PodState::Foreign,
        PodState::Unscheduled { why: None },
        PodState::Unscheduled { why: Some("no".to_owned()) },
        starting_since(noon()),
        PodState::Starting { scheduled: None, image_error: Some("no".to_owned()) },
        ready_since(noon()),
        PodState::Ready { since: None, ip: None },
        PodState::Ended { why: "no".to_owned() },
        PodState::Leaving,
    ];
    let invalid = FieldInvalid { field: "spec.timeout", invalid: Invalid::text("", "") };
    let specs = [Ok(fixture::spec()), suspended(fixture::observed()).spec, Err(invalid.clone())];
    let templates = [None, Some(Err(invalid)), Some(Ok(fixture::template()))];
    let pasts = [fixture::observed(), then(&starting(), noon()), running(), then(&running(), noon() + hours(8))];
    let times = [noon() - hours(24), noon(), noon() + hours(24), Timestamp::MAX, Timestamp::MIN];
    let mut planned = 0;
    for (pod, spec) in pods.iter().flat_map(|pod| specs.iter().map(move |spec| (pod, spec))) {
        for (template, past) in templates.iter().flat_map(|template| pasts.iter().map(move |past| (template, past))) {
            for (now, deleting) in times.iter().flat_map(|now| [(*now, false), (*now, true)]) {
                let (pod, spec, template) = (pod.clone(), spec.clone(), template.clone());
                let seen = Observed { pod, spec, template, deleting, ..past.clone() };
                let settled = then(&then(&then(&seen, now), now), now);
                assert_eq!(then(&settled, now).status, settled.status, "from {seen:?} at {now}");
                planned += 1;
            }
        }
    }
    assert_eq!(planned, 10 * 3 * 3 * 4 * 5 * 2);
}
