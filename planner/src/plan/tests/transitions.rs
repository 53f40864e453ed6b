//! Every observation that can be put together, however unlikely.

use std::collections::BTreeSet;

use vdi_api::Invalid;

use super::*;

fn for_each(mut look: impl FnMut(&Observed, Timestamp)) {
    let pods = vec![
        PodState::Absent,
        PodState::Foreign,
        PodState::Unscheduled(Wait::Scheduler),
        PodState::Unscheduled(Wait::Gates("no".to_owned())),
        no_node("no"),
        PodState::Starting(None),
        PodState::Starting(Some(Trouble::Image("no".to_owned()))),
        crashed(1),
        crashed(9),
        ready(),
        PodState::Ready { ip: None },
        PodState::Ended(End::Desktop("no".to_owned())),
        PodState::Ended(End::Node("no".to_owned())),
        PodState::Ended(End::Taken(Reason::NodeLost)),
        PodState::Leaving(Reason::Preempted),
    ];
    let invalid = FieldInvalid { field: "spec.timeout", invalid: Invalid::text("", "") };
    let specs = [Ok(fixture::spec()), suspended(fixture::observed()).spec, Err(invalid.clone())];
    let templates = vec![None, Some(Err(invalid)), Some(Ok(fixture::template()))];
    let queued = Some(Place { ahead: 1, since: noon(), may_start: false });
    let worlds = [
        fixture::observed(),
        Observed { place: queued, ..fixture::observed() },
        Observed { home: HomeState::InUse { by: "b".to_owned() }, ..fixture::observed() },
        Observed { home: HomeState::Leaving, ..fixture::observed() },
        Observed { home: HomeState::Taken, ..fixture::observed() },
        Observed { home: HomeState::Unbound { why: Some("no".to_owned()) }, ..fixture::observed() },
        Observed { deletion: deleted(true), ..fixture::observed() },
        Observed { deletion: deleted(false), ..fixture::observed() },
        Observed {
            idle: Some(Idle { since: Timestamp::MIN, as_of: Timestamp::MAX }),
            ..with_template(fixture::observed(), |template| template.pinned.idle_timeout = Some(length("1h")))
        },
    ];
    let pasts = [
        fixture::observed(),
        then(&starting(), noon()),
        running(),
        then(&running(), noon() + hours(8)),
        then(&with_pod(running(), crashed(9)), noon()),
        then(&with_pod(running(), PodState::Leaving(Reason::NodeLost)), noon()),
        then(&suspended(fixture::observed()), noon()),
    ];
    let times = [noon() - hours(24), noon(), noon() + hours(24), Timestamp::MAX, Timestamp::MIN];
    for (world, pod) in worlds.iter().flat_map(|world| pods.iter().map(move |pod| (world, pod))) {
        for (past, spec) in pasts.iter().flat_map(|past| specs.iter().map(move |spec| (past, spec))) {
            for template in &templates {
                let (pod, spec, template, status) = (pod.clone(), spec.clone(), template.clone(), past.status.clone());
                let seen = Observed { pod, status, spec, template, ..world.clone() };
                times.iter().for_each(|now| look(&seen, *now));
            }
        }
    }
}

/// It is planned for without a panic, and planning again from what was published settles within three passes: nothing is
/// ever looped on.
#[test]
fn every_plan_settles() {
    let mut planned = 0;
    for_each(|seen, now| {
        let settled = then(&then(&then(seen, now), now), now);
        assert_eq!(then(&settled, now).status, settled.status, "from {seen:?} at {now}");
        planned += 1;
    });
    assert_eq!(planned, 9 * 15 * 7 * 3 * 3 * 5);
}

#[test]
fn a_session_that_is_over_or_suspended_keeps_no_pod_that_holds_a_gpu() {
    for_each(|seen, now| {
        let plan = plan(seen, now);
        let holds = matches!(seen.pod, PodState::Unscheduled(_) | PodState::Starting(_) | PodState::Ready { .. });
        let is_suspended = seen.spec.as_ref().is_ok_and(|spec| spec.suspend) && seen.deletion.is_none();
        let is_over = seen.status.phase == Phase::Failed && seen.deletion.is_none();
        let ends = deletes_pod(&plan) || deletes_session(&plan) || plan.status.phase == Phase::Terminating;
        assert!(!(holds && (is_over || is_suspended)) || ends, "from {seen:?} at {now}: {plan:?}");
        assert!(!(is_over || is_suspended) || !creates_pod(&plan), "from {seen:?} at {now}");
    });
}

/// The diagram in docs/lifecycle.md has an arrow for each change of phase that a plan makes, and no other.
#[test]
fn the_diagram_in_the_docs_is_the_code() {
    let mut code = BTreeSet::new();
    for_each(|seen, now| {
        let (before, after) = (seen.status.phase, plan(seen, now).status.phase);
        if before != after {
            code.insert(format!("{before:?} --> {after:?}"));
        }
    });
    let docs = include_str!("../../../../docs/lifecycle.md");
    let diagram = docs.split("```mermaid").nth(1).unwrap().split("```").next().unwrap();
    let arrows = diagram.lines().filter_map(|line| line.split(':').next());
    let drawn =
        arrows.map(|arrow| arrow.trim().to_owned()).filter(|arrow| arrow.contains("-->") && !arrow.contains("[*]"));
    assert_eq!(drawn.collect::<BTreeSet<_>>(), code);
}
