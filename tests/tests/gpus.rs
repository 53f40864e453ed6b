//! GPUs, and what happens while there are too few of them, with the scheduler and the controllers of a real Kubernetes.

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
fn when_gpus_are_short_sessions_queue_in_their_order_and_a_higher_priority_takes_one() -> Result<()> {
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
            let told = namespace.wait_message(name, Phase::Pending, "Queued").await?;
            let sessions = if ahead == 0 { "1 session".to_owned() } else { format!("{} sessions", ahead + 1) };
            ensure!(
                told.starts_with(&format!("no nvidia.com/gpu is free: {sessions} ahead, waiting since ")),
                "{name}: {told}"
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

        // A higher priority comes before those who wait, and takes the place of who has one.
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
        // What was preempted came first, and comes first again.
        delete(&namespace.sessions, "urgent").await?;
        namespace.wait_running(&names[5]).await?;
        Ok(())
    })
}

#[test]
fn a_session_that_waits_for_its_home_is_in_nobodys_way() -> Result<()> {
    with_one_gpu(async |stack| {
        let namespace = TestNamespace::new(stack, "in-the-way").await?;
        let home = json!({ "mountPath": "/home/user" });
        namespace.template(json!({ "home": home, "gpu": { "resourceName": "example.com/scarce" } })).await?;
        // Other GPUs than the other tests wait for. Who has one of those that there are enough of has a home in use.
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
        let told = namespace.wait_message("bobs", Phase::Pending, "Unschedulable").await?;
        ensure!(told.starts_with("next in the queue for example.com/scarce"), "{told}");
        delete(&namespace.sessions, "carols").await?;
        namespace.wait_running("bobs").await?;
        namespace.wait("alices-second", Phase::Pending, "HomeInUse").await?;

        // And who only waits for a turn holds no home: alice can have her first one back.
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
fn a_session_that_no_node_is_large_enough_for_is_in_nobodys_way() -> Result<()> {
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
        let told = namespace.wait_message("giant", Phase::Pending, "Unschedulable").await?;
        ensure!(told.starts_with("no node is large enough: 0/1 nodes are available"), "{told}");
        a_second_later().await;
        new("usual", 1).await?;
        let told = namespace.wait_message("usual", Phase::Pending, "Unschedulable").await?;
        ensure!(told.starts_with("next in the queue for example.com/pair"), "{told}");
        delete(&namespace.sessions, "holder").await?;
        namespace.wait_running("usual").await?;
        namespace.wait("giant", Phase::Pending, "Unschedulable").await?;
        Ok(())
    })
}

#[test]
fn who_deletes_a_session_and_makes_another_has_no_second_gpu_before_the_first_is_given_back() -> Result<()> {
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
        // A pod that takes a while to go: here nobody deletes it but the controller, once it has waited for Kubernetes to do so.
        let mut pod = namespace.pods.get("vdi-former").await?;
        delete(&namespace.sessions, "former").await?;
        wait_gone(&namespace.pods, "vdi-former").await?;
        let ObjectMeta { name, labels, annotations, .. } = pod.metadata;
        pod.metadata = ObjectMeta { name, labels, annotations, ..Default::default() };
        create(&namespace.pods, &pod).await?;
        new("next", "erin").await?;
        let told = namespace.wait_message("next", Phase::Pending, "FormerDesktopEnding").await?;
        ensure!(told.contains("pod former/vdi-former"), "{told}");
        new("others", "frank").await?;
        namespace.wait_running("others").await?;
        ensure!(namespace.pods.get_opt("vdi-next").await?.is_none(), "she has a second one");

        namespace.wait_running("next").await?;
        ensure!(namespace.pods.get_opt("vdi-former").await?.is_none(), "she has a second one");
        Ok(())
    })
}

/// What a DRA driver publishes: one GPU on the node.
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
        let told = namespace.wait_message("second", Phase::Pending, "Unschedulable").await?;
        ensure!(
            told.contains("next in the queue for one-gpu, waiting since ")
                && told.contains("cannot allocate all claims"),
            "{told}"
        );
        a_second_later().await;
        namespace.session("third").await?;
        let told = namespace.wait_message("third", Phase::Pending, "Queued").await?;
        ensure!(told.starts_with("no one-gpu is free: 1 session ahead, waiting since "), "{told}");
        for (gone, next) in [("first", "second"), ("second", "third")] {
            delete(&namespace.sessions, gone).await?;
            namespace.wait_running(next).await?;
        }
        Ok(())
    })
}
