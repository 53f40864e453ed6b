use super::*;

#[test]
fn an_image_that_cannot_be_pulled_is_explained_once_and_fails_at_the_start_deadline() {
    let failing = |text: &str| PodState::Starting(Some(Trouble::Image(text.to_owned())));
    let seen = then(&with_pod(fixture::observed(), failing("not found")), noon());
    assert_eq!(seen.status.phase, Phase::Creating);
    assert_eq!(seen.message(), "the desktop's image can't be pulled: not found");

    // The kubelet's words change with every try; they aren't written again.
    let seen = with_pod(seen, failing("back-off"));
    assert_eq!(plan(&seen, noon() + minutes(1)).status, seen.status);

    let late = plan(&seen, noon() + minutes(5));
    assert_eq!(said(&late), (Phase::Failed, "StartDeadlineExceeded"));
    assert!(message(&late).ends_with("can't be pulled: not found"));
}

#[test]
fn a_container_that_cannot_be_created_is_explained_with_the_nodes_message() {
    let trouble = Trouble::Container("secret \"vnc\" not found".to_owned());
    let plan = plan(&with_pod(fixture::observed(), PodState::Starting(Some(trouble))), noon());
    assert_eq!(said(&plan), (Phase::Creating, "ContainerFailed"));
    assert_eq!(message(&plan), "the desktop can't be started: secret \"vnc\" not found");
}

#[test]
fn a_crashed_desktop_restarts_in_place_and_keeps_its_clock() {
    let seen = then(&with_pod(running(), crashed(1)), noon() + hours(1));
    assert_eq!(said(&plan(&seen, noon() + hours(1))), (Phase::Creating, "DesktopCrashed"));
    assert_eq!(seen.message(), "the desktop crashed and is restarting (1 of 3): exit code 1");
    assert_eq!(plan(&seen, noon() + hours(1)).actions, []);
    let up = then(&with_pod(seen, ready()), noon() + hours(1)).status;
    let before = running().status;
    assert_eq!((up.phase, up.start_time, up.expires_at), (Phase::Running, before.start_time, before.expires_at));
}

#[test]
fn a_desktop_out_of_memory_says_how_much_it_had() {
    let trouble = Trouble::Crash { crashes: 2, out_of_memory: true, words: "exit code 137 (OOMKilled)".to_owned() };
    let plan = plan(&with_pod(running(), PodState::Starting(Some(trouble))), noon());
    assert_eq!(said(&plan), (Phase::Creating, "OutOfMemory"));
    assert!(message(&plan).starts_with("the desktop exceeded its memory limit of 4Gi and is restarting (2 of 3)"));
}

#[test]
fn a_desktop_that_keeps_crashing_fails_its_session_with_its_last_words() {
    for before in [fixture::observed(), running()] {
        let plan = plan(&with_pod(before, crashed(4)), noon());
        assert_eq!(said(&plan), (Phase::Failed, "CrashLoop"));
        assert_eq!(message(&plan), "crashed 4 times; the last time with exit code 1");
    }
}

#[test]
fn a_failed_session_names_its_pod_only_while_that_is_kept_for_its_log() {
    let ended = PodState::Ended(End::Desktop("the desktop ended with exit code 0 (Completed)".to_owned()));
    for (pod, name) in [(ended, Some("vdi-alice-desktop")), (crashed(4), None)] {
        let plan = plan(&with_pod(running(), pod), noon());
        assert_eq!((plan.status.phase, plan.status.pod_name.as_deref()), (Phase::Failed, name));
    }
}

#[test]
fn a_desktop_that_ended_by_itself_ends_its_session() {
    let ended = PodState::Ended(End::Desktop("the desktop ended with exit code 0 (Completed)".to_owned()));
    let failed = then(&with_pod(running(), ended), noon());
    assert_eq!(said(&plan(&failed, noon())), (Phase::Failed, "DesktopEnded"));
    assert_eq!(plan(&failed, noon()).actions, [], "its pod holds no GPU, and its log may be of use");
}

#[test]
fn a_pod_that_was_taken_away_is_explained_and_replaced_once_it_is_gone() {
    for why in [Reason::Preempted, Reason::Evicted, Reason::NodeLost, Reason::PodDeleted] {
        let leaving = then(&with_pod(running(), PodState::Leaving(why)), noon() + hours(1));
        let waiting = plan(&leaving, noon() + hours(1));
        assert_eq!((said(&waiting), waiting.actions.len()), ((Phase::Pending, &*why.to_string()), 0));
        let gone = plan(&with_pod(leaving.clone(), PodState::Absent), noon() + hours(1));
        assert!(creates_pod(&gone));
        assert_eq!(gone.status, leaving.status, "it is still why there is none yet");
        let back = then(&with_pod(leaving, ready()), noon() + hours(2));
        assert_eq!(back.status.expires_at.map(|at| at.0), Some(noon() + hours(8)), "its clock went on");
    }
}

#[test]
fn a_pod_that_vanished_is_reported_first_and_then_replaced() {
    let vanished = with_pod(running(), PodState::Absent);
    let first = plan(&vanished, noon());
    assert_eq!((said(&first), first.actions.len()), ((Phase::Pending, "PodLost"), 0));
    assert!(creates_pod(&plan(&then(&vanished, noon()), noon())));
    let seen_to_go = Observed { pod_left: Some(Reason::Preempted), ..vanished };
    assert_eq!(said(&plan(&seen_to_go, noon())), (Phase::Pending, "Preempted"));
}

#[test]
fn a_pod_that_was_deleted_before_it_had_a_node_is_created_again() {
    let waiting = then(&with_pod(fixture::observed(), no_node("no")), noon());
    let leaving = with_pod(waiting, PodState::Leaving(Reason::PodDeleted));
    assert_eq!(plan(&leaving, noon()).status, leaving.status);
    let gone = then(&with_pod(leaving, PodState::Absent), noon());
    assert!(creates_pod(&plan(&gone, noon())));
}

#[test]
fn a_replaced_desktop_has_a_start_deadline_again_and_never_runs_past_its_time() {
    let lost = then(&with_pod(running(), PodState::Leaving(Reason::NodeLost)), noon() + hours(7));
    let again = then(&with_pod(lost.clone(), PodState::Starting(None)), noon() + hours(7));
    assert_eq!(again.status.expires_at.clone().map(|at| at.0), Some(noon() + hours(7) + minutes(5)));
    assert_eq!(said(&plan(&again, noon() + hours(7) + minutes(5))), (Phase::Failed, "StartDeadlineExceeded"));
    let late = noon() + hours(8) - minutes(2);
    let again = then(&with_pod(lost, PodState::Starting(None)), late);
    assert_eq!(again.status.expires_at.clone().map(|at| at.0), Some(noon() + hours(8)));
    assert_eq!(said(&plan(&again, noon() + hours(8))), (Phase::Terminating, "Expired"));
}

fn evicted(seen: Observed) -> Observed {
    with_pod(seen, PodState::Ended(End::Node("Evicted: it used too much disk".to_owned())))
}

#[test]
fn an_evicted_pod_is_counted_once_deleted_and_replaced() {
    let told = then(&evicted(running()), noon());
    assert_eq!((said(&plan(&told, noon())), told.status.failed_pods), ((Phase::Pending, "Evicted"), 1));
    assert_eq!(told.message(), "evicted by its node; starting a new pod: Evicted: it used too much disk");
    let next = plan(&told, noon());
    assert!(deletes_pod(&next));
    assert_eq!(next.status, told.status);
    assert!(creates_pod(&plan(&with_pod(told, PodState::Absent), noon())));
}

#[test]
fn the_fourth_eviction_fails_the_session() {
    let mut seen = running();
    for attempt in 0..3 {
        seen = then(&evicted(Observed { pod_attempt: attempt, ..seen }), noon());
        assert_eq!(said(&plan(&seen, noon())), (Phase::Pending, "Evicted"));
    }
    let last = plan(&evicted(Observed { pod_attempt: 3, ..seen }), noon());
    assert_eq!(said(&last), (Phase::Failed, "PodFailed"));
    assert_eq!(message(&last), "evicted 4 times: Evicted: it used too much disk");
}

#[test]
fn suspending_forgets_what_earlier_pods_did() {
    let mut seen = suspended(fixture::observed());
    seen.status.failed_pods = 3;
    assert_eq!(then(&seen, noon()).status.failed_pods, 0);
}

#[test]
fn a_desktop_that_restarts_shortly_before_its_session_ends_is_starting_and_not_unresponsive() {
    let late = noon() + hours(8) - minutes(2);
    let lost = then(&with_pod(running(), PodState::Absent), late);
    let again = then(&with_pod(lost, PodState::Starting(None)), late);
    assert_eq!(again.status.expires_at.as_ref().map(|end| end.0), Some(noon() + hours(8)));
    for after in [0, 60] {
        assert_eq!(said(&plan(&again, late + seconds(after))), (Phase::Creating, "Starting"));
    }
    let up = then(&with_pod(again, ready()), late);
    assert_eq!(said(&plan(&with_pod(up, PodState::Starting(None)), late)), (Phase::Creating, "NotResponding"));
}
