//! GPUs, and the queue for them, with Kubernetes' real scheduler and controllers.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    resource::v1::{DeviceClass, ResourceClaimTemplate, ResourceSlice},
    scheduling::v1::PriorityClass,
};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams},
};
use serde_json::{Value, json};
use vdi_api::Phase;
use vdi_cluster::SimulatedNodes;
use vdi_tests::{
    objects::{create, delete, session, template, wait_gone},
    shared::{Shared, directory},
    stack::{Settings, Stack},
    test_namespace::TestNamespace,
};

/// A shared stack with one node that has one GPU.
fn with_one_gpu(test: impl AsyncFnOnce(&'static Stack) -> Result<()>) -> Result<()> {
    static STACK: Shared<(Stack, SimulatedNodes)> = Shared::new();
    let start = async || {
        let stack = Stack::start(&directory(), Settings::default()).await?;
        let nodes = SimulatedNodes::start(&stack.cluster, 1, 1).await?;
        Ok((stack, nodes))
    };
    STACK.with(start, async |(stack, _)| test(stack).await)
}

/// Adds GPUs with other resource names to the node, so that tests don't wait for each other.
async fn offer(namespace: &TestNamespace, gpus: Value) -> Result<()> {
    let gpus = Patch::Merge(json!({ "status": { "capacity": gpus, "allocatable": gpus } }));
    let nodes: Api<Node> = Api::all(namespace.client.clone());
    nodes.patch_status("simulated-0", &PatchParams::default(), &gpus).await?;
    Ok(())
}

/// Creation times have a resolution of seconds, and the order matters.
async fn a_second_later() {
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
}

#[test]
fn when_gpus_are_scarce_sessions_queue_in_order_and_a_higher_priority_preempts() -> Result<()> {
    with_one_gpu(async |stack| {
        let namespace = TestNamespace::new(stack, "queue").await?;
        namespace.template(json!({})).await?;

        // First come, first served.
        let names: Vec<String> = (0..6).map(|number| format!("desktop-{number}")).collect();
        for name in &names {
            create(&namespace.sessions, &session(name, "queue")).await?;
            a_second_later().await;
        }
        namespace.wait_running(&names[0]).await?;
        let next = namespace.wait_message(&names[1], Phase::Pending, "Unschedulable").await?;
        ensure!(
            next.starts_with("next in the queue for nvidia.com/gpu, waiting since ")
                && next.contains("Insufficient nvidia.com/gpu"),
            "{next}"
        );
        for (ahead, name) in names[2..].iter().enumerate() {
            let message = namespace.wait_message(name, Phase::Pending, "Queued").await?;
            let sessions = if ahead == 0 { "1 session".to_owned() } else { format!("{} sessions", ahead + 1) };
            ensure!(
                message.starts_with(&format!("no nvidia.com/gpu is free: {sessions} ahead, waiting since ")),
                "{name}: {message}"
            );
            ensure!(
                namespace.pods.get_opt(&format!("vdi-{name}")).await?.is_none(),
                "{name} has no pod before its turn"
            );
        }
        for name in &names[..5] {
            namespace.wait_running(name).await?;
            delete(&namespace.sessions, name).await?;
        }
        namespace.wait_running(&names[5]).await?;

        // A session of a higher priority goes ahead of the queue, and preempts one that has a GPU.
        let class: PriorityClass = serde_json::from_value(json!({ "metadata": { "name": "urgent" }, "value": 1000 }))?;
        create(&Api::all(namespace.client.clone()), &class).await?;
        create(&Api::all(namespace.client.clone()), &template("urgent", json!({ "priorityClassName": "urgent" }))?)
            .await?;
        create(&namespace.sessions, &session("patient", "queue")).await?;
        namespace.wait("patient", Phase::Pending, "Unschedulable").await?;
        create(&namespace.sessions, &session("urgent", "urgent")).await?;
        namespace.wait_running("urgent").await?;
        let event = namespace.wait_event(&names[5], "Preempted").await?;
        ensure!(event.contains("was preempted by one of a higher priority"), "{event}");
        for name in [&names[5], "patient"] {
            let status = namespace.sessions.get(name).await?.status.context("no status")?;
            ensure!(status.phase == Phase::Pending, "{name}: {status:?}");
        }
        // The preempted session is older than the other, so it is next in the queue again.
        delete(&namespace.sessions, "urgent").await?;
        namespace.wait_running(&names[5]).await?;
        Ok(())
    })
}

#[test]
fn a_session_that_waits_for_its_home_does_not_block_the_queue() -> Result<()> {
    with_one_gpu(async |stack| {
        let namespace = TestNamespace::new(stack, "in-the-way").await?;
        let home = json!({ "mountPath": "/home/user" });
        namespace.template(json!({ "home": home, "gpu": { "resourceName": "example.com/scarce" } })).await?;
        // GPUs that no other test uses. A session with one of the plentiful ones keeps its user's home in use.
        offer(&namespace, json!({ "example.com/scarce": "1", "example.com/plenty": "8" })).await?;
        let other = template("plenty", json!({ "home": home, "gpu": { "resourceName": "example.com/plenty" } }))?;
        create(&Api::all(namespace.client.clone()), &other).await?;
        let new = async |name: &str, user: &str, template: &str| {
            let mut session = session(name, template);
            session.spec.user = format!("{user}@example.com");
            create(&namespace.sessions, &session).await.map(drop)
        };
        new("alices-first", "alice", "plenty").await?;
        new("carols", "carol", &namespace.name).await?;
        for name in ["alices-first", "carols"] {
            namespace.wait_running(name).await?;
        }
        new("alices-second", "alice", &namespace.name).await?;
        namespace.wait("alices-second", Phase::Pending, "HomeInUse").await?;
        a_second_later().await;
        new("bobs", "bob", &namespace.name).await?;
        let message = namespace.wait_message("bobs", Phase::Pending, "Unschedulable").await?;
        ensure!(message.starts_with("next in the queue for example.com/scarce"), "{message}");
        delete(&namespace.sessions, "carols").await?;
        namespace.wait_running("bobs").await?;
        namespace.wait("alices-second", Phase::Pending, "HomeInUse").await?;

        // A session that is only queued doesn't hold its user's home: another one of david's gets it.
        delete(&namespace.sessions, "alices-first").await?;
        namespace.wait("alices-second", Phase::Pending, "Unschedulable").await?;
        a_second_later().await;
        new("davids-first", "david", &namespace.name).await?;
        namespace.wait("davids-first", Phase::Pending, "Queued").await?;
        new("davids-second", "david", "plenty").await?;
        namespace.wait_running("davids-second").await?;
        for name in ["alices-second", "bobs", "davids-first", "davids-second"] {
            delete(&namespace.sessions, name).await?;
        }
        Ok(())
    })
}

#[test]
fn a_session_that_is_too_large_for_every_node_does_not_block_the_queue() -> Result<()> {
    with_one_gpu(async |stack| {
        let namespace = TestNamespace::new(stack, "too-large").await?;
        namespace.template(json!({ "gpu": { "resourceName": "example.com/pair" } })).await?;
        offer(&namespace, json!({ "example.com/pair": "2" })).await?;
        let new = async |name: &str, gpus: i32| {
            let mut session = session(name, &namespace.name);
            session.spec.resources.gpu = gpus;
            create(&namespace.sessions, &session).await.map(drop)
        };
        new("holder", 2).await?;
        namespace.wait_running("holder").await?;
        new("giant", 64).await?;
        let message = namespace.wait_message("giant", Phase::Pending, "Unschedulable").await?;
        ensure!(message.starts_with("no node is large enough: 0/1 nodes are available"), "{message}");
        a_second_later().await;
        new("usual", 1).await?;
        let message = namespace.wait_message("usual", Phase::Pending, "Unschedulable").await?;
        ensure!(message.starts_with("next in the queue for example.com/pair"), "{message}");
        delete(&namespace.sessions, "holder").await?;
        namespace.wait_running("usual").await?;
        namespace.wait("giant", Phase::Pending, "Unschedulable").await?;
        Ok(())
    })
}

#[test]
fn a_user_who_replaces_a_session_gets_no_gpu_before_the_former_desktop_has_released_its_own() -> Result<()> {
    with_one_gpu(async |stack| {
        let namespace = TestNamespace::new(stack, "former").await?;
        namespace.template(json!({ "gpu": { "resourceName": "example.com/former" } })).await?;
        offer(&namespace, json!({ "example.com/former": "8" })).await?;
        let new = async |name: &str, user: &str| {
            let mut session = session(name, &namespace.name);
            session.spec.user = format!("{user}@example.com");
            create(&namespace.sessions, &session).await.map(drop)
        };
        new("former", "erin").await?;
        namespace.wait_running("former").await?;
        // A pod that takes a while to go: the garbage collector ignores it, and the controller deletes it after some time.
        let mut pod = namespace.pods.get("vdi-former").await?;
        delete(&namespace.sessions, "former").await?;
        wait_gone(&namespace.pods, "vdi-former").await?;
        let ObjectMeta { name, labels, annotations, .. } = pod.metadata;
        pod.metadata = ObjectMeta { name, labels, annotations, ..Default::default() };
        create(&namespace.pods, &pod).await?;
        new("next", "erin").await?;
        let message = namespace.wait_message("next", Phase::Pending, "FormerDesktopEnding").await?;
        ensure!(message.contains("pod former/vdi-former"), "{message}");
        new("others", "frank").await?;
        namespace.wait_running("others").await?;
        ensure!(namespace.pods.get_opt("vdi-next").await?.is_none(), "erin has a second GPU");

        namespace.wait_running("next").await?;
        ensure!(namespace.pods.get_opt("vdi-former").await?.is_none(), "erin has a second GPU");
        Ok(())
    })
}

/// Publishes one GPU on the node, as a DRA driver does.
async fn publish_one_device(namespace: &TestNamespace) -> Result<()> {
    let class: DeviceClass = serde_json::from_value(json!({
        "metadata": { "name": "gpu.example.com" },
        "spec": { "selectors": [{ "cel": { "expression": "device.driver == 'gpu.example.com'" } }] },
    }))?;
    let slice: ResourceSlice = serde_json::from_value(json!({
        "metadata": { "name": "simulated-0-gpus" },
        "spec": {
            "driver": "gpu.example.com",
            "nodeName": "simulated-0",
            "pool": { "name": "simulated-0", "generation": 1, "resourceSliceCount": 1 },
            "devices": [{ "name": "gpu-0" }],
        },
    }))?;
    create(&Api::all(namespace.client.clone()), &class).await?;
    create(&Api::all(namespace.client.clone()), &slice).await?;
    Ok(())
}

#[test]
fn a_gpu_of_a_dra_driver_is_claimed_by_one_session_and_the_others_queue_for_it() -> Result<()> {
    with_one_gpu(async |stack| {
        let namespace = TestNamespace::new(stack, "claims").await?;
        publish_one_device(&namespace).await?;
        let claim: ResourceClaimTemplate = serde_json::from_value(json!({
            "metadata": { "name": "one-gpu" },
            "spec": { "spec": { "devices": { "requests": [
                { "name": "gpu", "exactly": { "deviceClassName": "gpu.example.com" } },
            ] } } },
        }))?;
        create(&Api::namespaced(namespace.client.clone(), &namespace.name), &claim).await?;
        namespace.template(json!({ "gpu": { "resourceClaimTemplateName": "one-gpu" } })).await?;

        namespace.session("first").await?;
        namespace.wait_running("first").await?;
        let pod: Pod = namespace.pods.get("vdi-first").await?;
        let claims = pod.status.and_then(|status| status.resource_claim_statuses).unwrap_or_default();
        ensure!(claims.len() == 1 && claims[0].resource_claim_name.is_some(), "{claims:?}");

        namespace.session("second").await?;
        let message = namespace.wait_message("second", Phase::Pending, "Unschedulable").await?;
        ensure!(
            message.contains("next in the queue for one-gpu, waiting since ")
                && message.contains("cannot allocate all claims"),
            "{message}"
        );
        a_second_later().await;
        namespace.session("third").await?;
        let message = namespace.wait_message("third", Phase::Pending, "Queued").await?;
        ensure!(message.starts_with("no one-gpu is free: 1 session ahead, waiting since "), "{message}");
        for (gone, next) in [("first", "second"), ("second", "third")] {
            delete(&namespace.sessions, gone).await?;
            namespace.wait_running(next).await?;
        }
        Ok(())
    })
}
