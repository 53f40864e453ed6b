use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vdi_api::Expiry;

use super::*;

fn ends(plan: &Plan) -> Option<(Timestamp, Expiry)> {
    Some((plan.status.expires_at.as_ref()?.0, plan.status.expiry?))
}

#[test]
fn raising_the_timeout_extends_a_running_session() {
    let mut seen = running();
    seen.spec.as_mut().unwrap().timeout = length("10h");
    let plan = plan(&seen, noon() + hours(9));
    assert_eq!(said(&plan), (Phase::Running, "Running"));
    assert_eq!(ends(&plan), Some((noon() + hours(10), Expiry::Timeout)));
}

#[test]
fn the_templates_maximum_holds_however_far_the_timeout_is_raised() {
    let mut seen = with_template(running(), |template| template.pinned.max_timeout = Some(length("9h")));
    assert_eq!(ends(&plan(&seen, noon())), Some((noon() + hours(8), Expiry::Timeout)));
    seen.spec.as_mut().unwrap().timeout = length("100h");
    assert_eq!(ends(&plan(&seen, noon())), Some((noon() + hours(9), Expiry::MaxTimeout)));
    let over = plan(&seen, noon() + hours(9));
    assert_eq!(message(&over), "reached its template's longest session time at 2026-01-01T21:00:00Z");
}

#[test]
fn at_its_deadline_a_session_is_first_shown_as_terminating_and_then_deleted() {
    let seen = running();
    assert_eq!(said(&plan(&seen, noon() + hours(8) - seconds(1))), (Phase::Running, "Running"));
    let deadline = noon() + hours(8);
    let first = plan(&seen, deadline);
    assert_eq!((said(&first), first.actions.len()), ((Phase::Terminating, "Expired"), 0));
    let second = plan(&then(&seen, deadline), deadline);
    assert_eq!(said(&second), (Phase::Terminating, "Expired"));
    assert!(deletes_session(&second));
}

#[test]
fn a_timeout_that_is_raised_at_the_last_moment_still_counts() {
    let mut seen = then(&running(), noon() + hours(8));
    assert_eq!(seen.status.phase, Phase::Terminating);
    seen.spec.as_mut().unwrap().timeout = length("10h");
    assert_eq!(said(&plan(&seen, noon() + hours(8))), (Phase::Running, "Running"));
}

#[test]
fn a_deadline_that_passed_while_the_controller_was_down_is_kept() {
    assert_eq!(said(&plan(&running(), noon() + hours(100))), (Phase::Terminating, "Expired"));
}

#[test]
fn an_expired_session_that_is_being_deleted_keeps_its_reason() {
    let seen = Observed { deletion: deleted(true), ..then(&running(), noon() + hours(8)) };
    assert_eq!(plan(&seen, noon()).status, seen.status);
    let by_hand = Observed { deletion: deleted(true), ..running() };
    assert_eq!(said(&plan(&by_hand, noon())), (Phase::Terminating, "Deleted"));
}

#[test]
fn the_pod_of_a_deleted_session_is_left_to_kubernetes_for_a_while_unless_a_finalizer_keeps_the_session() {
    let left = Observed { deletion: deleted(true), ..running() };
    let first = plan(&left, noon());
    assert!(!deletes_pod(&first) && first.wake == Some(noon() + seconds(10)), "{first:?}");
    assert!(deletes_pod(&plan(&left, noon() + seconds(10))));

    let kept = Observed { deletion: deleted(false), ..running() };
    for pod in [no_node("no"), PodState::Starting(None), ready()] {
        assert!(deletes_pod(&plan(&with_pod(kept.clone(), pod), noon())));
    }
    for pod in [PodState::Absent, PodState::Foreign, PodState::Leaving(Reason::PodDeleted)] {
        assert_eq!(plan(&with_pod(kept.clone(), pod), noon()).actions, []);
    }
}

#[test]
fn the_end_is_warned_of_15_and_5_minutes_before_and_each_warning_is_the_same_while_it_holds() {
    let seen = running();
    let keys =
        |at: SignedDuration| plan(&seen, noon() + at).notices.into_iter().map(|notice| notice.key).collect::<Vec<_>>();
    let before = |time: i64| hours(8) - minutes(time);
    assert!(keys(before(16)).is_empty());
    assert_eq!(plan(&seen, noon()).wake, Some(noon() + before(15)));
    assert_eq!((keys(before(15)).len(), keys(before(15))), (1, keys(before(6))));
    assert_eq!((keys(before(5)).len(), keys(before(5))), (1, keys(before(1))));
    assert_ne!(keys(before(15)), keys(before(5)));
    assert_eq!(plan(&seen, noon() + before(15)).wake, Some(noon() + before(5)));
    assert_eq!(plan(&seen, noon() + before(5)).wake, Some(noon() + hours(8)));
}

#[test]
fn a_session_that_is_shorter_than_a_warning_gets_none() {
    let mut seen = running();
    seen.spec.as_mut().unwrap().timeout = length("10m");
    let notices = |at| plan(&seen, noon() + at).notices.len();
    assert_eq!((notices(minutes(1)), notices(minutes(4)), notices(minutes(6))), (0, 0, 1));
}

/// A desktop that stops after half an hour without input, and had its last one `idle` ago.
fn idle(idle: SignedDuration, now: Timestamp) -> Observed {
    let seen = with_template(running(), |template| template.pinned.idle_timeout = Some(length("30m")));
    Observed { idle: Some(Idle { since: now - idle, as_of: now }), ..seen }
}

#[test]
fn a_desktop_in_use_costs_no_write_however_often_it_is_used() {
    let seen = then(&idle(minutes(0), noon()), noon());
    for minute in 1..60 {
        let now = noon() + minutes(minute);
        let used = Observed { idle: Some(Idle { since: now - minutes(minute % 14), as_of: now }), ..seen.clone() };
        assert_eq!(plan(&used, now).status, seen.status, "{minute}");
    }
}

#[test]
fn an_unused_desktop_shows_when_it_ends_warns_and_ends() {
    let now = noon() + hours(2);
    let half = plan(&idle(minutes(15), now), now);
    assert_eq!(ends(&half), Some((now + minutes(15), Expiry::Idle)));
    assert_eq!(half.notices.len(), 1, "{:?}", half.notices);
    assert!(half.wake.is_some_and(|wake| wake <= now + seconds(10)), "a return is seen soon");
    let over = plan(&idle(minutes(30), now), now);
    assert_eq!(said(&over), (Phase::Terminating, "Idle"));
}

#[test]
fn a_gateway_that_comes_back_in_time_continues() {
    let now = noon() + hours(2);
    let seen = then(&idle(minutes(29), now), now);
    let back = Observed { idle: Some(Idle { since: now, as_of: now }), ..seen };
    let plan = plan(&back, now);
    assert_eq!((said(&plan), ends(&plan)), ((Phase::Running, "Running"), Some((noon() + hours(8), Expiry::Timeout))));
}

#[test]
fn idleness_that_is_not_known_to_the_end_ends_nothing() {
    let now = noon() + hours(2);
    let stale = Idle { since: now - minutes(31), as_of: now - minutes(2) };
    assert_eq!(said(&plan(&Observed { idle: Some(stale), ..idle(minutes(0), now) }, now)), (Phase::Running, "Running"));
    assert_eq!(said(&plan(&Observed { idle: None, ..idle(minutes(0), now) }, now)), (Phase::Running, "Running"));
}

#[test]
fn a_desktop_is_not_idle_before_it_was_up() {
    let now = noon() + minutes(10);
    let plan = plan(&idle(hours(5), now), now);
    assert_eq!((said(&plan), ends(&plan)), ((Phase::Running, "Running"), Some((noon() + hours(8), Expiry::Timeout))));
}

#[test]
fn a_start_deadline_holds_although_the_template_is_gone_or_was_changed() {
    let seen = then(&starting(), noon());
    assert_eq!(ends(&plan(&seen, noon())), Some((noon() + minutes(5), Expiry::StartDeadline)));
    let changed = with_template(seen.clone(), |template| template.pinned.start_deadline = length("1h"));
    for seen in [Observed { template: None, pinned: None, ..seen }, changed] {
        assert_eq!(said(&plan(&seen, noon() + minutes(5) - seconds(1))), (Phase::Creating, "Starting"));
        assert_eq!(said(&plan(&seen, noon() + minutes(5))), (Phase::Failed, "StartDeadlineExceeded"));
    }
}

#[test]
fn a_failed_session_gives_its_gpu_back_and_is_removed_after_its_retention() {
    let failed = then(&starting(), noon());
    let failed = then(&failed, noon() + minutes(5));
    let removal = noon() + minutes(65);
    assert_eq!(
        (failed.status.expires_at.clone(), failed.status.expiry),
        (Some(Time(removal)), Some(Expiry::FailedRetention))
    );

    let next = plan(&failed, noon() + minutes(6));
    assert!(deletes_pod(&next));
    assert_eq!(next.wake, Some(removal));
    let without_pod = with_pod(failed, PodState::Absent);
    assert_eq!(plan(&without_pod, removal - seconds(1)).actions, [], "it never starts again by itself");
    let last = plan(&without_pod, removal + minutes(1));
    assert!(deletes_session(&last));
    assert_eq!(last.wake, None, "it is not deleted again and again while the watch doesn't show it yet");
}
