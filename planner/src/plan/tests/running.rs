use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use vdi_api::Expiry;

use super::*;

#[test]
fn from_create_to_running_there_are_two_writes() {
    let creating = then(&starting(), noon());
    assert_eq!(creating.status.phase, Phase::Creating);
    assert_eq!(then(&creating, noon() + seconds(3)), creating, "nothing new is nothing to write");
    let running = then(&with_pod(creating, ready()), noon() + seconds(9));
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
    assert_eq!((status.expires_at, status.expiry), (Some(Time(noon() + hours(8))), Some(Expiry::Timeout)));
    assert_eq!(status.pod_name.as_deref(), Some("vdi-alice-desktop"));
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.template_generation, Some(3));
}

#[test]
fn a_change_of_the_template_does_not_touch_a_running_session() {
    let seen = running();
    let mut changed = fixture::template_with_everything();
    changed.pinned.template_generation = 4;
    let later = Observed { template: Some(Ok(changed)), ..seen.clone() };
    assert_eq!(plan(&later, noon() + hours(1)), plan(&seen, noon() + hours(1)));
    let gone = Observed { template: None, ..seen.clone() };
    assert_eq!(plan(&gone, noon() + hours(1)).status, seen.status);
}

#[test]
fn a_desktop_that_stops_answering_is_not_running_but_keeps_its_clock() {
    let seen = then(&with_pod(running(), PodState::Starting(None)), noon() + hours(1));
    assert_eq!((seen.status.phase, seen.status.start_time.clone()), (Phase::Creating, Some(Time(noon()))));
    assert_eq!(said(&plan(&seen, noon() + hours(2))), (Phase::Creating, "NotResponding"), "no start deadline again");
    let back = then(&with_pod(seen, ready()), noon() + hours(3));
    assert_eq!(back.status.expires_at, Some(Time(noon() + hours(8))));
}

fn accelerated(seen: &Observed) -> &Condition {
    seen.status.conditions.iter().find(|condition| condition.type_ == "Accelerated").unwrap()
}

#[test]
fn a_running_session_shows_its_renderer_and_software_rendering_is_warned_of() {
    let up = |renderer| Observed { renderer, ..with_pod(fixture::observed(), ready()) };
    let software = up(Renderer::Named("llvmpipe (LLVM 15)".to_owned()));
    let plan = plan(&software, noon());
    assert_eq!(said(&plan), (Phase::Running, "Running"));
    assert_eq!(plan.notices.iter().map(|notice| notice.reason).collect::<Vec<_>>(), ["SoftwareRendering"]);
    let gpu = then(&up(Renderer::Named("NVIDIA H100".to_owned())), noon());
    assert_eq!((&*accelerated(&gpu).status, &*accelerated(&gpu).message), ("True", "renders with NVIDIA H100"));
    let silent = then(&up(Renderer::NotPublished), noon());
    assert_eq!(accelerated(&silent).status, "Unknown");
    assert_eq!(then(&silent, noon() + hours(1)), silent);
}

#[test]
fn a_desktop_that_does_not_report_its_renderer_yet_is_asked_again_for_a_while() {
    let seen = then(&Observed { renderer: Renderer::Unreadable, ..with_pod(fixture::observed(), ready()) }, noon());
    assert_eq!(plan(&seen, noon()).wake, Some(noon() + seconds(10)));
    assert_eq!(plan(&seen, noon() + minutes(3)).wake, plan(&running(), noon() + minutes(3)).wake);
}

#[test]
fn the_next_pod_may_render_with_something_else() {
    let seen =
        Observed { renderer: Renderer::Named("NVIDIA H100".to_owned()), ..with_pod(fixture::observed(), ready()) };
    let lost = then(&with_pod(then(&seen, noon()), PodState::Leaving(Reason::Preempted)), noon());
    assert!(lost.status.conditions.iter().all(|condition| condition.type_ == "Ready"));
}

#[test]
fn other_peoples_conditions_are_kept_and_a_transition_time_changes_only_with_the_status() {
    let mut seen = starting();
    let other = Condition { type_: "Backup".to_owned(), ..then(&seen, noon()).status.ready().unwrap().clone() };
    seen.status.conditions = vec![other.clone()];
    let creating = then(&seen, noon());
    assert!(creating.status.conditions.contains(&other));

    let image_error = PodState::Starting(Some(Trouble::Image("gone".to_owned())));
    let later = then(&with_pod(creating, image_error), noon() + minutes(1));
    assert_eq!(later.status.ready().unwrap().last_transition_time, Time(noon()), "False stays False");
    let up = then(&with_pod(later, ready()), noon() + seconds(90));
    assert_eq!(up.status.ready().unwrap().last_transition_time, Time(noon() + seconds(90)));
    assert!(up.status.conditions.contains(&other));
}
