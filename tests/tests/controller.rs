//! The controller on a real API server, with simulated nodes. Each test has a namespace and a template of its own.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::json;
use vdi_api::Phase;
use vdi_tests::{
    audit,
    objects::{create, delete, session, wait_for, wait_gone},
    shared::with_stack,
    stack::{Settings, Stack, controller},
    test_namespace::TestNamespace,
    wait::{until, within},
};

fn merge(patch: serde_json::Value) -> Patch<serde_json::Value> {
    Patch::Merge(patch)
}

/// The request budget of a session without problems. It may only shrink.
#[test]
fn from_create_to_gone_a_session_costs_one_pod_create_and_two_status_patches() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "budget").await?;
        namespace.template(json!({ "home": { "mountPath": "/home/user" } })).await?;
        // A pod that is ready before the controller sees it saves a patch.
        let usual = [("create pods", 1), ("patch vdisessions/status", 2)];
        let first = [("create networkpolicies", 1), ("create persistentvolumeclaims", 1)];
        let mut before = audit::Requests::new();
        for budget in [&[usual, first].concat()[..], &usual] {
            namespace.session("desktop").await?;
            namespace.wait_running("desktop").await?;
            delete(&namespace.sessions, "desktop").await?;
            wait_gone(&namespace.pods, "vdi-desktop").await?;
            let requests = audit::requests(&stack.cluster, &controller(), "budget")?;
            for (request, count) in &requests {
                let new = count - before.get(request).copied().unwrap_or_default();
                let most = budget.iter().find(|(allowed, _)| allowed == request).map_or(0, |(_, most)| *most);
                ensure!(
                    new <= most,
                    "{new} times {request}: the controller's requests were {requests:#?} after {before:#?}"
                );
            }
            before = requests;
        }
        Ok(())
    })
}

#[test]
fn a_session_waits_for_its_template_and_starts_when_it_appears() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "template-later").await?;
        namespace.session("desktop").await?;
        let waiting = namespace.wait("desktop", Phase::Pending, "TemplateNotFound").await?;
        let message = &waiting.ready().context("no condition")?.message;
        ensure!(message == "no VDITemplate is named \"template-later\"", "{message}");

        namespace.template(json!({})).await?;
        namespace.wait_running("desktop").await?;
        Ok(())
    })
}

#[test]
fn a_session_that_waits_for_a_gpu_shows_the_schedulers_message_and_starts_when_there_is_one() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "no-gpu").await?;
        namespace
            .template(json!({ "gpu": { "resourceName": "nvidia.com/gpu", "nodeSelector": { "pool": "later" } } }))
            .await?;
        namespace.session("desktop").await?;
        let waiting = namespace.wait("desktop", Phase::Pending, "Unschedulable").await?;
        let message = &waiting.ready().context("no condition")?.message;
        ensure!(message.starts_with("0/3 nodes are available"), "{message}");

        let nodes: Api<Node> = Api::all(namespace.client.clone());
        let label = merge(json!({ "metadata": { "labels": { "pool": "later" } } }));
        nodes.patch("simulated-0", &PatchParams::default(), &label).await?;
        namespace.wait_running("desktop").await?;
        Ok(())
    })
}

#[test]
fn the_pod_holds_the_gpus_and_the_memory_that_the_session_asks_for() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "resources").await?;
        namespace.template(json!({})).await?;
        let mut wanted = session("desktop", "resources");
        wanted.spec.resources.gpu = 2;
        wanted.spec.resources.memory = "2048Mi".to_owned();
        create(&namespace.sessions, &wanted).await?;
        namespace.wait_running("desktop").await?;

        let pod = namespace.pods.get("vdi-desktop").await?;
        let resources =
            pod.spec.and_then(|spec| spec.containers.into_iter().next()?.resources).context("no resources")?;
        let (limits, requests) = (resources.limits.unwrap_or_default(), resources.requests.unwrap_or_default());
        for amounts in [&limits, &requests] {
            ensure!(amounts["nvidia.com/gpu"].0 == "2" && amounts["memory"].0 == "2Gi", "{amounts:?}");
        }
        Ok(())
    })
}

#[test]
fn at_its_timeout_a_session_is_terminating_and_then_gone_with_its_pod() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "timeout").await?;
        namespace.template(json!({})).await?;
        let mut short = session("desktop", "timeout");
        short.spec.timeout = "2s".to_owned();

        let created = create(&namespace.sessions, &short).await?;
        let since = created.resource_version().context("no resource version")?;
        let watch = WatchParams::default().fields("metadata.name=desktop");
        let mut events = namespace.sessions.watch(&watch, &since).await?.boxed();
        let mut seen = vec![created.status.unwrap_or_default().phase];
        while seen.last() != Some(&Phase::Terminating) {
            let event = within(&format!("another phase after {seen:?}"), events.next()).await?;
            let event = event.context("the watch ended")??;
            let WatchEvent::Modified(session) = event else { bail!("after {seen:?}: {event:?}") };
            let phase = session.status.unwrap_or_default().phase;
            if seen.last() != Some(&phase) {
                seen.push(phase);
            }
        }
        // A simulated kubelet may have the pod ready before the controller sees that it has a node.
        let all = [Phase::Pending, Phase::Creating, Phase::Running, Phase::Terminating];
        let at_once = [Phase::Pending, Phase::Running, Phase::Terminating];
        ensure!(seen == all || seen == at_once, "{seen:?}");
        wait_gone(&namespace.sessions, "desktop").await?;
        wait_gone(&namespace.pods, "vdi-desktop").await
    })
}

#[test]
fn raising_the_timeout_moves_the_end_of_a_running_session() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "extend").await?;
        namespace.template(json!({})).await?;
        namespace.session("desktop").await?;
        let status = namespace.wait_running("desktop").await?;
        let start = status.start_time.context("no start time")?.0;
        ensure!(status.expires_at.context("no end")?.0 == start + SignedDuration::from_hours(8));

        let longer = merge(json!({ "spec": { "timeout": "10h" } }));
        namespace.sessions.patch("desktop", &PatchParams::default(), &longer).await?;
        let moved = |session: &vdi_api::VDISession| {
            let end = session.status.as_ref().and_then(|status| status.expires_at.as_ref());
            end.is_some_and(|end| end.0 == start + SignedDuration::from_hours(10))
        };
        wait_for(&namespace.sessions, "desktop", "extended to ten hours", moved).await?;
        Ok(())
    })
}

#[test]
fn a_suspended_session_has_no_pod_and_resumes_where_it_was() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "suspend").await?;
        namespace.template(json!({})).await?;
        namespace.session("desktop").await?;
        let before = namespace.wait_running("desktop").await?;

        let suspend = |suspend| merge(json!({ "spec": { "suspend": suspend } }));
        namespace.sessions.patch("desktop", &PatchParams::default(), &suspend(true)).await?;
        namespace.wait("desktop", Phase::Pending, "Suspended").await?;
        ensure!(namespace.pods.get_opt("vdi-desktop").await?.is_none(), "the GPU is free when Suspended is shown");
        namespace.sessions.patch("desktop", &PatchParams::default(), &suspend(false)).await?;
        let after = namespace.wait_running("desktop").await?;
        ensure!(after.url == before.url, "it has another URL");
        Ok(())
    })
}

#[test]
fn users_with_the_same_local_part_never_share_a_url() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "addresses").await?;
        namespace.template(json!({})).await?;
        let names: Vec<String> = (0..8).map(|n| format!("desktop-{n}")).collect();
        let sessions = names.iter().enumerate().map(|(n, name)| {
            let mut session = session(name, "addresses");
            session.spec.user = format!("sam@{n}.example.com");
            session
        });
        let sessions: Vec<_> = sessions.collect();
        futures::future::try_join_all(sessions.iter().map(|session| create(&namespace.sessions, session))).await?;
        let mut urls = HashSet::new();
        for name in &names {
            urls.extend(namespace.wait_running(name).await?.url);
        }
        ensure!(urls.len() == names.len() && urls.contains("https://sam.vdi.example.com"), "{urls:?}");
        Ok(())
    })
}

#[test]
fn an_exhausted_quota_is_named_and_the_session_starts_once_it_is_removed() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "quota").await?;
        namespace.template(json!({})).await?;
        let quotas: Api<ResourceQuota> = Api::namespaced(namespace.client.clone(), "quota");
        let none = json!({ "metadata": { "name": "gpus" }, "spec": { "hard": { "requests.nvidia.com/gpu": "0" } } });
        create(&quotas, &serde_json::from_value(none)?).await?;
        wait_for(&quotas, "gpus", "in force", |quota: &ResourceQuota| {
            quota.status.as_ref().is_some_and(|status| status.hard.is_some())
        })
        .await?;

        namespace.session("desktop").await?;
        let waiting = namespace.wait("desktop", Phase::Pending, "QuotaExceeded").await?;
        let message = &waiting.ready().context("no condition")?.message;
        ensure!(message.contains("exceeded quota: gpus"), "{message}");
        quotas.delete("gpus", &DeleteParams::default()).await?;
        namespace.wait_running("desktop").await?;
        Ok(())
    })
}

#[test]
fn somebody_elses_pod_of_the_same_name_is_left_alone_and_the_session_starts_once_it_is_gone() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "foreign").await?;
        namespace.template(json!({})).await?;
        let foreign = json!({ "metadata": { "name": "vdi-desktop" }, "spec": { "containers": [{ "name": "mine", "image": "mine" }] } });
        create::<Pod>(&namespace.pods, &serde_json::from_value(foreign)?).await?;
        namespace.session("desktop").await?;
        namespace.wait("desktop", Phase::Pending, "PodNameTaken").await?;
        delete(&namespace.pods, "vdi-desktop").await?;
        namespace.wait_running("desktop").await?;
        Ok(())
    })
}

/// Kills the controller repeatedly while sessions start, expire and are deleted. It must continue in any case.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_killed_at_any_point_continues_where_it_left_off() -> Result<()> {
    let directory = vdi_tests::target().join("clusters/controller-killed");
    // Without leader election, a killed controller's successor starts at once.
    let alone = Settings { controller: vec!["--leader-elect=false".to_owned()], ..Settings::default() };
    let mut stack = Stack::start(&directory, alone).await?;
    let _nodes = vdi_cluster::SimulatedNodes::start(&stack.cluster, 3, 8).await?;
    let namespace = TestNamespace::new(&stack, "killed").await?;
    namespace.template(json!({})).await?;
    for round in 0..6 {
        namespace.session(&format!("lasting-{round}")).await?;
        let mut short = session(&format!("short-{round}"), "killed");
        short.spec.timeout = "1s".to_owned();
        create(&namespace.sessions, &short).await?;
        // Later in each round, to hit different steps.
        tokio::time::sleep(Duration::from_millis(40 * round)).await;
        stack.kill_controller()?;
        stack.start_controller().await?;
    }
    for round in 0..6 {
        namespace.wait_running(&format!("lasting-{round}")).await?;
        wait_gone(&namespace.sessions, &format!("short-{round}")).await?;
        wait_gone(&namespace.pods, &format!("vdi-short-{round}")).await?;
    }
    ensure!(namespace.pods.list(&Default::default()).await?.items.len() == 6, "not exactly one pod per session");
    let status = stack.stop_controller()?;
    ensure!(status.success(), "SIGTERM ended it with {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_serves_health_readiness_and_metrics() -> Result<()> {
    let mut stack = Stack::start(&vdi_tests::target().join("clusters/controller-probes"), Settings::default()).await?;
    let address = stack.controller_address().await?;
    let get = async |path: &str| vdi_tests::http::get(address, path).await;
    until("the controller is ready", async || Ok(get("/readyz").await?.0 == 200)).await?;
    ensure!(get("/healthz").await? == (200, "ok\n".to_owned()));
    let (status, page) = get("/metrics").await?;
    ensure!(status == 200 && page.contains("\nvdi_controller_queue_depth 0\n"), "{page}");
    Ok(())
}
