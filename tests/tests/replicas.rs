//! Several replicas of the controller: one leads, and another takes over.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use vdi_api::{VDISession, VDITemplate};
use vdi_tests::{
    audit,
    faults::invariants::miscounted,
    installation,
    objects::{create, session, wait_for},
    process::signal,
    replica::Replica,
    shared::with_stack_alone,
    stack::{Stack, controller},
    test_namespace::TestNamespace,
    wait,
};

/// How long a replica may take for something that takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A leader, and a standby with complete caches.
async fn leader_and_standby(stack: &Stack) -> Result<(Replica, Replica)> {
    let mut leader = stack.start_replica("replica-a", &[])?;
    leader.wait_until_leading().await?;
    let mut standby = stack.start_replica("replica-b", &[])?;
    standby.wait_until_ready().await?;
    ensure!(standby.metrics().await?.contains("\nvdi_controller_leader 0\n"), "there are two leaders");
    Ok((leader, standby))
}

/// A replica's successful writes with their times, except for leases.
fn writes(stack: &Stack, identity: &str) -> Result<Vec<(Timestamp, String)>> {
    let mut writes = Vec::new();
    for event in audit::events(&stack.cluster.audit_log(), &controller())? {
        let is_its_own = event["userAgent"].as_str().is_some_and(|agent| agent.ends_with(&format!("({identity})")));
        let is_write = !matches!(event["verb"].as_str(), Some("get" | "list" | "watch"));
        let has_happened = event["responseStatus"]["code"].as_i64().is_some_and(|code| code < 300);
        if is_its_own && is_write && has_happened && event["objectRef"]["resource"] != "leases" {
            let when = event["stageTimestamp"].as_str().context("no time")?.parse()?;
            writes.push((when, audit::request(&event)));
        }
    }
    Ok(writes)
}

/// How long after `began` a replica first wrote something.
async fn first_write(stack: &Stack, identity: &str, began: Timestamp) -> Result<Duration> {
    let first = async || Ok(writes(stack, identity)?.into_iter().next());
    let (when, _) = wait::for_value(&format!("{identity} writes something"), first).await?;
    Ok(when.duration_since(began).try_into()?)
}

#[test]
fn when_the_leader_is_killed_the_standby_takes_over_within_15_seconds() -> Result<()> {
    with_stack_alone(async |stack| {
        let namespace = TestNamespace::new(stack, "killed-leader").await?;
        namespace.template(json!({})).await?;
        let (leader, mut standby) = leader_and_standby(stack).await?;
        namespace.session("before").await?;
        namespace.wait_running("before").await?;

        let killed = Timestamp::now();
        leader.kill()?;
        namespace.session("after").await?;
        let took = first_write(stack, &standby.identity().await?, killed).await?;
        eprintln!("failover after kill -9: {:.1} s", took.as_secs_f64());
        ensure!(took < Duration::from_secs(15), "took {took:?}");
        namespace.wait_running("after").await?;
        ensure!(standby.stop()?.success());
        Ok(())
    })
}

#[test]
fn when_the_leader_stops_gracefully_the_standby_takes_over_at_once() -> Result<()> {
    with_stack_alone(async |stack| {
        let namespace = TestNamespace::new(stack, "stopped-leader").await?;
        namespace.template(json!({})).await?;
        let (leader, mut standby) = leader_and_standby(stack).await?;
        namespace.session("before").await?;
        namespace.wait_running("before").await?;

        let stopped = Timestamp::now();
        ensure!(leader.stop()?.success());
        namespace.session("after").await?;
        let took = first_write(stack, &standby.identity().await?, stopped).await?;
        eprintln!("handover after SIGTERM: {:.2} s", took.as_secs_f64());
        ensure!(took < Duration::from_secs(3), "took {took:?}");
        namespace.wait_running("after").await?;
        ensure!(standby.stop()?.success());
        Ok(())
    })
}

/// The leader is paused during its work, and wakes up with work to do after another has taken over.
#[test]
fn a_leader_that_was_deposed_while_it_was_paused_writes_nothing_and_exits() -> Result<()> {
    with_stack_alone(async |stack| {
        let namespace = TestNamespace::new(stack, "deposed-leader").await?;
        namespace.template(json!({})).await?;
        let (mut leader, mut standby) = leader_and_standby(stack).await?;
        let (old, process) = (leader.identity().await?, leader.process().await?);
        let new = standby.identity().await?;
        let names: Vec<String> = (0..20).map(|n| format!("desktop-{n}")).collect();
        let sessions: Vec<_> = names.iter().map(|name| session(name, &namespace.name)).collect();
        try_join_all(sessions.iter().map(|session| create(&namespace.sessions, session))).await?;

        let stopped = Timestamp::now();
        signal("STOP", process)?;
        // Work for it when it wakes up.
        let wait = first_write(stack, &new, stopped).await?;
        for name in &names[..10] {
            namespace.sessions.delete(name, &Default::default()).await?;
        }
        namespace.session("later").await?;
        let took_over = stopped + wait;
        signal("CONT", process)?;
        wait::until("the former leader exits", async || Ok(leader.check().is_err())).await?;
        let log = leader.log()?;
        ensure!(!leader.stop()?.success(), "it must exit with an error");
        eprintln!("refused by its own fence: {}", log.matches("not written: this replica is not the leader").count());
        ensure!(log.contains(&format!("lost lease vdiwarden-system/vdi-controller, which {new} has now")), "{log}");
        for name in names[10..].iter().map(String::as_str).chain(["later"]) {
            namespace.wait_running(name).await?;
        }
        let late: Vec<_> = writes(stack, &old)?.into_iter().filter(|(when, _)| *when >= took_over).collect();
        ensure!(late.is_empty(), "after {new} took over at {took_over}, {old} wrote {late:?}");
        ensure!(standby.stop()?.success());
        Ok(())
    })
}

/// The lease is deleted while the leader can't notice. No other replica may lead until the leader can no longer write.
#[test]
fn when_its_lease_is_deleted_a_paused_leader_writes_nothing_and_its_successor_waits_long_enough() -> Result<()> {
    with_stack_alone(async |stack| {
        let namespace = TestNamespace::new(stack, "deleted-lease").await?;
        namespace.template(json!({})).await?;
        let (mut leader, mut standby) = leader_and_standby(stack).await?;
        let (old, process, new) = (leader.identity().await?, leader.process().await?, standby.identity().await?);
        let leases: Api<Lease> = Api::namespaced(namespace.client.clone(), "vdiwarden-system");
        // Just renewed, so that the leader may write for as long as possible.
        let renewed = leases.get("vdi-controller").await?.metadata.resource_version;
        wait_for(&leases, "vdi-controller", "renewed", |lease: &Lease| lease.metadata.resource_version != renewed)
            .await?;
        let stopped = Timestamp::now();
        signal("STOP", process)?;
        leases.delete("vdi-controller", &Default::default()).await?;
        namespace.session("desktop").await?;
        let wait = first_write(stack, &new, stopped).await?;
        ensure!(wait >= Duration::from_secs(11), "{new} wrote {wait:?} after {old} could have");
        signal("CONT", process)?;
        wait::until("the former leader exits", async || Ok(leader.check().is_err())).await?;
        let took_over = stopped + wait;
        let late: Vec<_> = writes(stack, &old)?.into_iter().filter(|(when, _)| *when >= took_over).collect();
        ensure!(late.is_empty(), "after {new} took over at {took_over}, {old} wrote {late:?}");
        namespace.wait_running("desktop").await?;
        ensure!(!leader.stop()?.success() && standby.stop()?.success());
        Ok(())
    })
}

/// A misconfiguration that must cost no more than requests.
#[test]
fn two_controllers_without_leader_election_make_no_pod_twice() -> Result<()> {
    with_stack_alone(async |stack| {
        let namespace = TestNamespace::new(stack, "two-leaders").await?;
        namespace.template(json!({})).await?;
        let alone = ["--leader-elect=false".to_owned()];
        let mut replicas = [stack.start_replica("replica-a", &alone)?, stack.start_replica("replica-b", &alone)?];
        for replica in &mut replicas {
            replica.wait_until_leading().await?;
        }
        let names: Vec<String> = (0..30).map(|n| format!("desktop-{n}")).collect();
        let sessions: Vec<_> = names.iter().map(|name| session(name, &namespace.name)).collect();
        try_join_all(sessions.iter().map(|session| create(&namespace.sessions, session))).await?;
        for name in &names {
            namespace.wait_running(name).await?;
        }
        let mut done = HashMap::<String, usize>::new();
        for event in audit::events(&stack.cluster.audit_log(), &controller())? {
            let object = &event["objectRef"];
            if object["namespace"] == *namespace.name && event["responseStatus"]["code"].as_i64() < Some(300) {
                *done.entry(audit::request(&event)).or_default() += 1;
            }
        }
        ensure!(done.get("create pods") == Some(&names.len()), "{done:?}");
        ensure!(done.get("patch vdisessions/status") <= Some(&(2 * names.len())), "{done:?}");
        for replica in replicas {
            ensure!(replica.stop()?.success());
        }
        Ok(())
    })
}

#[test]
fn idle_replicas_only_update_the_lease_and_without_leader_election_send_no_requests() -> Result<()> {
    with_stack_alone(async |stack| {
        let (leader, standby) = leader_and_standby(stack).await?;
        let requests = requests_during(stack, Duration::from_secs(8)).await?;
        ensure!(
            requests.keys().all(|request| request == "update leases") && requests.values().sum::<usize>() <= 5,
            "{requests:?}"
        );
        ensure!(standby.stop()?.success() && leader.stop()?.success());

        let mut alone = stack.start_replica("replica-a", &["--leader-elect=false".to_owned()])?;
        alone.wait_until_ready().await?;
        let requests = requests_during(stack, Duration::from_secs(4)).await?;
        ensure!(requests.is_empty(), "{requests:?}");
        ensure!(alone.stop()?.success());
        Ok(())
    })
}

#[test]
fn leaders_leave_the_labels_and_annotations_of_the_lease_to_whoever_installed_it() -> Result<()> {
    with_stack_alone(async |stack| {
        let leases: Api<Lease> = Api::namespaced(stack.cluster.admin(), installation::NAMESPACE);
        let marks = json!({ "labels": { "installed-by": "helm" }, "annotations": { "release": "vdiwarden" } });
        let patch = Patch::Merge(json!({ "metadata": marks }));
        leases.patch("vdi-controller", &PatchParams::default(), &patch).await?;
        let (leader, mut standby) = leader_and_standby(stack).await?;
        leader.kill()?;
        standby.wait_until_leading().await?;
        ensure!(standby.stop()?.success());
        let metadata = serde_json::to_value(leases.get("vdi-controller").await?.metadata)?;
        for (kind, name) in [("labels", "installed-by"), ("annotations", "release")] {
            ensure!(metadata[kind][name] == marks[kind][name], "{metadata}");
        }
        Ok(())
    })
}

/// The controllers' requests during `time`, once everything has settled.
async fn requests_during(stack: &Stack, time: Duration) -> Result<audit::Requests> {
    wait_until_counted(stack).await?;
    // What is free is told at most every five seconds. Whatever is left to do is done when nothing was for longer than that.
    let quiet = Duration::from_secs(7);
    let settled = async || Ok(requests_in(stack, quiet).await?.keys().all(|request| request == "update leases"));
    wait::until("the controllers have nothing to do", settled).await?;
    requests_in(stack, time).await
}

/// The controllers' requests during `time`, from now.
async fn requests_in(stack: &Stack, time: Duration) -> Result<audit::Requests> {
    let began = Timestamp::now();
    tokio::time::sleep(time).await;
    let mut requests = audit::Requests::new();
    for event in audit::events(&stack.cluster.audit_log(), &controller())? {
        // A watch is logged again when it ends.
        let received: Timestamp = event["requestReceivedTimestamp"].as_str().context("no time")?.parse()?;
        if received >= began {
            *requests.entry(audit::request(&event)).or_default() += 1;
        }
    }
    Ok(requests)
}

async fn wait_until_counted(stack: &Stack) -> Result<()> {
    let templates: Api<VDITemplate> = Api::all(stack.cluster.admin());
    let sessions: Api<VDISession> = Api::all(stack.cluster.admin());
    let began = Instant::now();
    loop {
        let sessions = sessions.list(&Default::default()).await?.items;
        let wrong = miscounted(&templates.list(&Default::default()).await?.items, &sessions);
        if wrong.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{wrong:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
