//! What templates tell about free GPUs, with Kubernetes' real scheduler and simulated nodes.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use vdi_api::{Capacity, Phase, VDITemplate};
use vdi_cluster::{SimulatedNodes, User};
use vdi_tests::{
    audit,
    objects::{create, delete, session, template, wait_for},
    shared::{Shared, directory},
    stack::{Settings, Stack, controller},
    test_namespace::TestNamespace,
};

/// A shared stack with two nodes of 200 GPUs each. A test that counts them has a resource of its own.
fn with_nodes(test: impl AsyncFnOnce(&'static Stack) -> Result<()>) -> Result<()> {
    static STACK: Shared<(Stack, SimulatedNodes)> = Shared::new();
    let start = async || {
        let stack = Stack::start(&directory(), Settings::default()).await?;
        let nodes = SimulatedNodes::start(&stack.cluster, 2, 200).await?;
        Ok((stack, nodes))
    };
    STACK.with(start, async |(stack, _)| test(stack).await)
}

/// Makes a node offer a resource.
async fn offer(namespace: &TestNamespace, node: &str, resource: &str, amount: &str) -> Result<()> {
    let gpus = json!({ resource: amount });
    let gpus = Patch::Merge(json!({ "status": { "capacity": gpus, "allocatable": gpus } }));
    let nodes: Api<Node> = Api::all(namespace.client.clone());
    nodes.patch_status(node, &PatchParams::default(), &gpus).await?;
    Ok(())
}

/// Waits until a template tells so.
async fn wait_told(namespace: &TestNamespace, name: &str, told: impl Fn(&Capacity) -> bool) -> Result<Capacity> {
    let templates: Api<VDITemplate> = Api::all(namespace.client.clone());
    let of = |template: &VDITemplate| template.status.as_ref().and_then(|status| status.capacity.clone());
    let is_told = |template: &VDITemplate| of(template).as_ref().is_some_and(&told);
    let template = wait_for(&templates, name, "as full as it is", is_told).await?;
    of(&template).context("no capacity")
}

/// Waits until so many are free of so many, and so many sessions wait.
async fn wait_numbers(namespace: &TestNamespace, name: &str, free: i64, gpus: i64, waiting: i64) -> Result<Capacity> {
    let are_these = |told: &Capacity| (told.free, told.gpus, told.waiting) == (Some(free), Some(gpus), waiting);
    wait_told(namespace, name, are_these).await.with_context(|| format!("expected {free} of {gpus}, {waiting} wait"))
}

async fn a_second_later() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

#[test]
fn a_template_tells_what_is_free_who_waits_and_when_the_next_is_free() -> Result<()> {
    with_nodes(async |stack| {
        let namespace = TestNamespace::new(stack, "told").await?;
        namespace.template(json!({ "gpu": { "resourceName": "example.com/told" } })).await?;
        wait_numbers(&namespace, "told", 0, 0, 0).await?;
        offer(&namespace, "simulated-0", "example.com/told", "2").await?;
        offer(&namespace, "simulated-1", "example.com/told", "1").await?;
        let empty = wait_numbers(&namespace, "told", 3, 3, 0).await?;
        ensure!(empty.next_free.is_none(), "{empty:?}");

        let new = async |name: &str, gpus: i32, timeout: &str| {
            let mut session = session(name, "told");
            (session.spec.resources.gpu, session.spec.timeout) = (gpus, timeout.to_owned());
            create(&namespace.sessions, &session).await.map(drop)
        };
        new("pair", 2, "8h").await?;
        namespace.wait_running("pair").await?;
        wait_numbers(&namespace, "told", 1, 3, 0).await?;
        new("single", 1, "2h").await?;
        let ends = namespace.wait_running("single").await?.expires_at.context("no end")?;
        let full = wait_numbers(&namespace, "told", 0, 3, 0).await?;
        ensure!(full.next_free == Some(ends.clone()), "{full:?}");

        for name in ["first", "second"] {
            new(name, 1, "8h").await?;
            a_second_later().await;
        }
        namespace.wait("second", Phase::Pending, "Queued").await?;
        wait_numbers(&namespace, "told", 0, 3, 2).await?;
        // Extending the desktop that ends first changes when the next GPU is free.
        namespace.change("single", json!({ "timeout": "3h" })).await?;
        let later = ends.0 + SignedDuration::from_hours(1);
        wait_told(&namespace, "told", |told| told.next_free.as_ref().is_some_and(|at| at.0 == later)).await?;

        delete(&namespace.sessions, "single").await?;
        namespace.wait_running("first").await?;
        wait_numbers(&namespace, "told", 0, 3, 1).await?;
        delete(&namespace.sessions, "pair").await?;
        namespace.wait_running("second").await?;
        let relaxed = wait_numbers(&namespace, "told", 1, 3, 0).await?;
        ensure!(relaxed.next_free.is_none(), "{relaxed:?}");
        let table = stack.kubectl_ok(&User::admin(), ["get", "vdit", "told"]).await?;
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        ensure!(
            rows[0] == ["NAME", "DISPLAY", "NAME", "GPU", "FREE", "TOTAL", "WAITING", "SESSIONS", "AGE"],
            "{table}"
        );
        ensure!(rows[1][..6] == ["told", "example.com/told", "1", "3", "0", "2"], "{table}");
        Ok(())
    })
}

#[test]
fn gpus_of_others_and_of_nodes_that_take_no_desktops_are_not_free() -> Result<()> {
    with_nodes(async |stack| {
        let namespace = TestNamespace::new(stack, "others").await?;
        namespace.template(json!({ "gpu": { "resourceName": "example.com/shared" } })).await?;
        let here = json!({ "resourceName": "example.com/shared", "nodeSelector": { "kubernetes.io/hostname": "simulated-1" } });
        create(&Api::all(namespace.client.clone()), &template("others-here", json!({ "gpu": here }))?).await?;
        offer(&namespace, "simulated-0", "example.com/shared", "4").await?;
        offer(&namespace, "simulated-1", "example.com/shared", "2").await?;
        wait_numbers(&namespace, "others", 6, 6, 0).await?;
        wait_numbers(&namespace, "others-here", 2, 2, 0).await?;

        // Somebody's training holds three.
        let training: Pod = serde_json::from_value(json!({
            "metadata": { "name": "training" },
            "spec": {
                "nodeSelector": { "kubernetes.io/hostname": "simulated-0" },
                "containers": [{
                    "name": "training",
                    "image": "registry.example.com/training:1",
                    "resources": { "limits": { "example.com/shared": "3" } },
                }],
            },
        }))?;
        create(&namespace.pods, &training).await?;
        wait_numbers(&namespace, "others", 3, 6, 0).await?;
        wait_numbers(&namespace, "others-here", 2, 2, 0).await?;
        let done = Patch::Merge(json!({ "status": { "phase": "Succeeded" } }));
        namespace.pods.patch_status("training", &PatchParams::default(), &done).await?;
        wait_numbers(&namespace, "others", 6, 6, 0).await?;

        stack.kubectl_ok(&User::admin(), ["taint", "node", "simulated-0", "maintenance:NoSchedule"]).await?;
        let tainted = wait_numbers(&namespace, "others", 2, 2, 0).await;
        stack.kubectl_ok(&User::admin(), ["taint", "node", "simulated-0", "maintenance-"]).await?;
        tainted?;
        wait_numbers(&namespace, "others", 6, 6, 0).await?;
        Ok(())
    })
}

#[test]
fn what_cannot_be_known_is_not_told() -> Result<()> {
    with_nodes(async |stack| {
        let namespace = TestNamespace::new(stack, "unknown").await?;
        namespace.template(json!({ "gpu": { "resourceClaimTemplateName": "one-gpu" } })).await?;
        let claims = wait_told(&namespace, "unknown", |_| true).await?;
        ensure!(claims == Capacity::default(), "{claims:?}");
        // Kueue's quotas decide, whatever the nodes have. A template whose spec changes is told anew.
        let templates: Api<VDITemplate> = Api::all(namespace.client.clone());
        let queued = json!({ "spec": { "podLabels": { "kueue.x-k8s.io/queue-name": "gpus" } } });
        templates.patch("unknown", &PatchParams::default(), &Patch::Merge(queued)).await?;
        let untold = |template: &VDITemplate| template.status.as_ref().is_some_and(|status| status.capacity.is_none());
        wait_for(&templates, "unknown", "untold", untold).await?;
        Ok(())
    })
}

/// The writes of templates' status since a position in the audit log, by template.
fn writes(stack: &Stack, start: u64) -> Result<BTreeMap<String, usize>> {
    let mut writes = BTreeMap::new();
    for request in audit::since(&stack.cluster, start)? {
        if request.user == controller().name && request.what() == "patch vditemplates/status" {
            *writes.entry(request.name).or_default() += 1;
        }
    }
    Ok(writes)
}

#[test]
fn a_burst_of_200_sessions_costs_a_template_a_write_every_five_seconds_and_then_none() -> Result<()> {
    with_nodes(async |stack| {
        let namespace = TestNamespace::new(stack, "burst").await?;
        let names: Vec<String> = (0..10).map(|number| format!("burst-{number}")).collect();
        let templates: Api<VDITemplate> = Api::all(namespace.client.clone());
        for name in &names {
            create(&templates, &template(name, json!({}))?).await?;
        }
        wait_numbers(&namespace, "burst-9", 400, 400, 0).await?;
        let (start, began) = (audit::end(&stack.cluster)?, std::time::Instant::now());
        let small = |number: usize| {
            let mut session = session(&format!("desktop-{number}"), &names[number % names.len()]);
            session.spec.resources.memory = "1Gi".to_owned();
            session
        };
        let sessions: Vec<_> = (0..200).map(small).collect();
        try_join_all(sessions.iter().map(|session| create(&namespace.sessions, session))).await?;
        for session in &sessions {
            namespace.wait_running(&session.name_any()).await?;
        }
        for name in &names {
            wait_numbers(&namespace, name, 200, 400, 0).await?;
        }
        let (took, written) = (began.elapsed(), writes(stack, start)?);
        let most = 1 + usize::try_from(took.as_secs() / 5)?;
        eprintln!("{took:?}: {written:?}");
        for name in &names {
            let count = written.get(name).copied().unwrap_or_default();
            ensure!((1..=most).contains(&count), "{name}: {count} writes in {took:?}: {written:?}");
        }

        // The status of a template concerns no session, and a steady state costs nothing.
        let start = audit::end(&stack.cluster)?;
        tokio::time::sleep(Duration::from_secs(12)).await;
        let written = writes(stack, start)?;
        ensure!(!written.keys().any(|name| names.contains(name)), "{written:?}");
        Ok(())
    })
}
