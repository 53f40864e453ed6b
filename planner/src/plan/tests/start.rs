use vdi_api::{Deprecation, HomeAccess, Invalid, Memory, Reachable};

use super::*;

#[test]
fn a_new_session_gets_its_pod_and_nothing_is_written_about_it() {
    let seen = fixture::observed();
    let plan = plan(&seen, noon());
    assert!(creates_pod(&plan) && plan.actions.len() == 1);
    assert_eq!(plan.status, seen.status);
}

#[test]
fn a_pod_that_only_waits_for_the_scheduler_is_not_worth_a_write() {
    let seen = with_pod(fixture::observed(), PodState::Unscheduled(Wait::Scheduler));
    assert_eq!(plan(&seen, noon()), Plan::publish(seen.status));
}

#[test]
fn what_a_pod_needs_is_made_before_it() {
    let policy = Box::new(NetworkPolicy::default());
    let login = Some(fixture::login());
    let seen = Observed { home: HomeState::Missing, missing_policy: Some(policy), login, ..fixture::observed() };
    let reachable = vec![Reachable { cidr: "10.0.0.0/8".to_owned(), ports: vec![] }];
    let plan = plan(&with_template(seen, |template| template.reachable = reachable), noon());
    let kinds: Vec<&str> = plan
        .actions
        .iter()
        .map(|action| match action {
            Action::ProtectNamespace(_) => "policy",
            Action::CreateHome(_) => "home",
            Action::OpenNetwork(_) => "own policy",
            Action::CreateLogin(_) => "login",
            Action::CreatePod(_) => "pod",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["policy", "home", "own policy", "login", "pod"]);
}

#[test]
fn a_desktop_that_asks_for_a_password_is_not_started_without_one() {
    let asking = with_template(fixture::observed(), |template| template.basic_auth = Some(fixture::basic_auth()));
    let without_key = plan(&asking, noon());
    assert_eq!(said(&without_key), (Phase::Pending, "TemplateInvalid"));
    assert!(message(&without_key).contains("login-keys-file"), "{}", message(&without_key));
    assert_eq!(without_key.actions, []);
    assert!(creates_pod(&plan(&Observed { login: Some(fixture::login()), ..asking }, noon())));
}

#[test]
fn a_tampered_policy_is_repaired_while_there_is_a_desktop_and_not_without_one() {
    let spoilt = |seen| Observed { missing_policy: Some(Box::default()), ..seen };
    let protects = |plan: &Plan| has(plan, |action| matches!(action, Action::ProtectNamespace(_)));
    assert!(protects(&plan(&spoilt(running()), noon())));
    assert!(!protects(&plan(&spoilt(suspended(running())), noon())));
    assert!(!protects(&plan(&spoilt(Observed { template: None, ..fixture::observed() }), noon())));
}

#[test]
fn a_missing_template_is_named_and_the_session_starts_once_it_is_there() {
    let seen = Observed { template: None, ..fixture::observed() };
    let waiting = plan(&seen, noon());
    assert_eq!(said(&waiting), (Phase::Pending, "TemplateNotFound"));
    assert_eq!(message(&waiting), "no VDITemplate is named \"ubuntu-desktop\"");
    assert_eq!(waiting.actions, []);

    let there = Observed { template: Some(Ok(fixture::template())), ..then(&seen, noon()) };
    assert!(creates_pod(&plan(&there, noon())));
    assert_eq!(said(&plan(&there, noon())), (Phase::Pending, "Scheduling"));
}

#[test]
fn a_template_that_may_be_on_its_way_does_not_count_as_missing_yet() {
    let seen = Observed { template: None, created: noon(), ..fixture::observed() };
    let grace = noon() + seconds(2);
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
    assert!(message(&plan).starts_with("spec.sharedMemory: found \"much\""));
}

#[test]
fn a_deprecated_template_is_reported_once_with_its_replacement() {
    let deprecated = Deprecation { message: "it is old".to_owned(), replacement: Some("ubuntu-24".to_owned()) };
    let seen = with_template(fixture::observed(), |template| template.deprecated = Some(deprecated));
    let plan = plan(&seen, noon());
    assert!(creates_pod(&plan));
    assert_eq!(
        plan.notices.iter().map(|notice| notice.message.as_str()).collect::<Vec<_>>(),
        ["VDITemplate \"ubuntu-desktop\" is deprecated: it is old; use \"ubuntu-24\" instead"]
    );
}

#[test]
fn the_messages_of_the_scheduler_and_of_gates_are_passed_on() {
    let words = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.".to_owned();
    let seen = with_pod(fixture::observed(), no_node(&words));
    assert_eq!(
        (said(&plan(&seen, noon())), message(&plan(&seen, noon()))),
        ((Phase::Pending, "Unschedulable"), &*words)
    );
    let gated =
        PodState::Unscheduled(Wait::Gates("Scheduling is blocked due to non-empty scheduling gates".to_owned()));
    assert_eq!(said(&plan(&with_pod(fixture::observed(), gated), noon())), (Phase::Pending, "SchedulingGated"));
}

#[test]
fn a_session_whose_home_is_in_use_waits_without_a_pod() {
    let in_use = HomeState::InUse { by: "other".to_owned() };
    let waiting = plan(&Observed { home: in_use, ..fixture::observed() }, noon());
    assert_eq!((said(&waiting), waiting.actions.len()), ((Phase::Pending, "HomeInUse"), 0));
    assert!(message(&waiting).contains("session \"other\""), "{}", message(&waiting));
    assert!(waiting.wake.is_some());
}

#[test]
fn a_session_waits_for_the_gpus_of_its_users_former_desktop() {
    let former = Some("team/vdi-former".to_owned());
    let waiting = plan(&Observed { former_desktop: former, ..fixture::observed() }, noon());
    assert_eq!((said(&waiting), waiting.actions.len()), ((Phase::Pending, "FormerDesktopEnding"), 0));
    assert!(message(&waiting).contains("team/vdi-former"), "{}", message(&waiting));
    assert!(waiting.wake.is_some());
}

#[test]
fn a_session_waits_for_a_home_that_is_being_deleted_and_never_uses_another_sessions() {
    for (home, reason) in [(HomeState::Leaving, "HomeUnbound"), (HomeState::Taken, "HomeTaken")] {
        let waiting = plan(&Observed { home, ..fixture::observed() }, noon());
        assert_eq!((said(&waiting), waiting.actions.len()), ((Phase::Pending, reason), 0));
        assert!(waiting.wake.is_some());
    }
}

#[test]
fn a_home_that_is_deleted_before_its_pod_has_a_node_is_created_again() {
    let makes_home = |seen: &Observed| has(&plan(seen, noon()), |action| matches!(action, Action::CreateHome(_)));
    let new = Observed { home: HomeState::Missing, ..with_pod(fixture::observed(), no_node("no GPU")) };
    assert!(!makes_home(&new), "its watch may lag behind");
    let told = then(&new, noon());
    assert!(makes_home(&told));
    assert!(!makes_home(&Observed { home: HomeState::Bound, ..told }));
}

#[test]
fn a_home_that_has_no_volume_says_why_once_that_is_known() {
    let unbound = |why: Option<&str>, pod| {
        let home = HomeState::Unbound { why: why.map(str::to_owned) };
        plan(&Observed { home, ..with_pod(fixture::observed(), pod) }, noon())
    };
    let quiet = unbound(None, PodState::Unscheduled(Wait::Scheduler));
    assert_eq!((&quiet.status, quiet.wake), (&fixture::observed().status, Some(noon() + seconds(15))));
    let told = unbound(Some("no such pool"), PodState::Unscheduled(Wait::Scheduler));
    assert_eq!(
        (said(&told), message(&told)),
        ((Phase::Pending, "HomeUnbound"), "the home volume is not provisioned yet: no such pool")
    );
    let words = unbound(None, no_node("pod has unbound immediate PersistentVolumeClaims"));
    assert_eq!(said(&words), (Phase::Pending, "HomeUnbound"));
    let other = unbound(None, no_node("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."));
    assert_eq!(said(&other), (Phase::Pending, "Unschedulable"), "it gets its volume with its node");
}

#[test]
fn a_session_whose_template_has_no_home_makes_none() {
    let seen = Observed { home: HomeState::NotWanted, ..fixture::observed() };
    let plan = plan(&with_template(seen, |template| template.home = None), noon());
    assert!(creates_pod(&plan) && plan.actions.len() == 1);
    assert_eq!(fixture::home().access, HomeAccess::ReadWriteOnce);
}

fn place(ahead: i64) -> Option<Place> {
    Some(Place { ahead, since: noon() - minutes(3), may_start: ahead == 0 })
}

#[test]
fn a_session_that_is_not_next_has_no_pod_and_shows_its_place() {
    let queued = then(&Observed { place: place(4), ..fixture::observed() }, noon());
    let first = plan(&queued, noon());
    assert_eq!((said(&first), first.actions.len()), ((Phase::Pending, "Queued"), 0));
    assert_eq!(message(&first), "no nvidia.com/gpu is free: 4 sessions ahead, waiting since 2026-01-01T11:57:00Z");
    assert_eq!(first.status.queue.as_ref().map(|queue| queue.ahead), Some(4));

    let moved = then(&Observed { place: place(1), ..queued }, noon() + minutes(1));
    assert!(moved.message().starts_with("no nvidia.com/gpu is free: 1 session ahead, waiting"), "{}", moved.message());
    let next = plan(&Observed { place: place(0), ..moved }, noon() + minutes(2));
    assert!(creates_pod(&next));
}

#[test]
fn a_pod_is_deleted_while_sessions_ahead_of_it_wait() {
    let pod = no_node("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.");
    let plan_at = |ahead| plan(&Observed { place: place(ahead), ..with_pod(fixture::observed(), pod.clone()) }, noon());
    let second = plan_at(1);
    assert!(deletes_pod(&second));
    assert_eq!((said(&second), second.status.pod_name.as_deref()), ((Phase::Pending, "Queued"), None));
    let next = plan_at(0);
    assert_eq!((said(&next), next.actions.len()), ((Phase::Pending, "Unschedulable"), 0));
    assert!(
        message(&next).starts_with("next in the queue for nvidia.com/gpu, waiting since 2026-01-01T11:57:00Z: 0/1")
    );
}

#[test]
fn a_pod_that_no_node_is_large_enough_for_waits_for_a_larger_one_and_says_so() {
    let pod = no_node("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.");
    let seen = Observed { fits_nowhere: true, place: place(0), ..with_pod(fixture::observed(), pod) };
    let plan = plan(&seen, noon());
    assert_eq!((said(&plan), plan.actions.len()), ((Phase::Pending, "Unschedulable"), 0));
    assert!(message(&plan).starts_with("no node is large enough: 0/1 nodes"), "{}", message(&plan));
}

#[test]
fn a_foreign_pod_of_the_same_name_is_left_alone() {
    let plan = plan(&with_pod(fixture::observed(), PodState::Foreign), noon());
    assert_eq!((said(&plan), plan.actions.len()), ((Phase::Pending, "PodNameTaken"), 0));
}

#[test]
fn suspending_releases_the_gpu_before_it_is_published_and_resuming_restarts_the_clock() {
    let seen = suspended(running());
    let first = plan(&seen, noon() + hours(1));
    assert_eq!(said(&first), (Phase::Running, "Running"));
    assert!(deletes_pod(&first));
    let leaving = with_pod(seen, PodState::Leaving(Reason::PodDeleted));
    assert_eq!(said(&plan(&leaving, noon() + hours(1))), (Phase::Running, "Running"));

    let gone = then(&with_pod(leaving, PodState::Absent), noon() + hours(1));
    assert_eq!(said(&plan(&gone, noon() + hours(100))), (Phase::Pending, "Suspended"));
    assert_eq!(
        (gone.status.start_time.clone(), gone.status.expires_at.clone(), gone.status.expiry),
        (None, None, None)
    );

    let resumed = Observed { spec: Ok(fixture::spec()), ..gone };
    assert!(creates_pod(&plan(&resumed, noon() + hours(100))));
    let again = then(&with_pod(resumed, ready()), noon() + hours(101));
    assert_eq!(again.status.expires_at.map(|time| time.0), Some(noon() + hours(109)));
}
