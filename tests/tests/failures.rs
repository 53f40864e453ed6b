//! Failures of desktops, on a real API server with Kubernetes' real scheduler and controllers. There is no kubelet:
//! the tests write the status of pods.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::{Node, Pod},
};
use kube::{
    Api,
    api::{DeleteParams, EvictParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use vdi_api::Phase;
use vdi_tests::{
    objects::{create, delete, wait_for, wait_gone},
    shared::with_stack,
    stack::Stack,
    test_namespace::TestNamespace,
    wait::until,
};

/// A pod's status with its container, as the kubelet reports it.
fn container(restarts: i32, state: Value, last_state: Value) -> Value {
    let is_running = state.get("running").is_some();
    json!({ "phase": "Running",
        "conditions": [{ "type": "Ready", "status": if is_running { "True" } else { "False" } }],
        "containerStatuses": [{
            "name": "desktop", "image": "", "imageID": "", "ready": is_running, "started": is_running,
            "restartCount": restarts, "state": state, "lastState": last_state,
        }],
    })
}

fn crash(reason: &str, code: i32, log: &str) -> Value {
    json!({ "terminated": { "exitCode": code, "reason": reason, "message": log } })
}

async fn running(stack: &Stack, name: &str, template: Value) -> Result<TestNamespace> {
    let namespace = TestNamespace::new(stack, name).await?;
    namespace.template(template).await?;
    namespace.session("desktop").await?;
    namespace.wait_running("desktop").await?;
    Ok(namespace)
}

/// Waits until the session has another pod and runs.
async fn wait_replaced(namespace: &TestNamespace, before: &Pod) -> Result<()> {
    wait_for(&namespace.pods, "vdi-desktop", "a new pod", |pod: &Pod| pod.metadata.uid != before.metadata.uid).await?;
    namespace.wait_running("desktop").await?;
    Ok(())
}

#[test]
fn a_desktop_that_crashes_is_restarted_in_place_and_its_last_output_is_shown() -> Result<()> {
    with_stack(async |stack| {
        let namespace = running(stack, "crash", json!({ "logInStatus": true })).await?;
        let before = namespace.sessions.get("desktop").await?.status.context("no status")?;
        let end = crash("Error", 134, "one\nXvnc: no screens found");
        namespace.change_pod("desktop", container(0, end.clone(), json!({}))).await?;
        let message = namespace.wait_message("desktop", Phase::Creating, "DesktopCrashed").await?;
        let cause = "exit code 134 (Error):\none\nXvnc: no screens found";
        ensure!(message == format!("the desktop crashed and is restarting (1 of 3): {cause}"), "{message}");
        let event = namespace.wait_event("desktop", "DesktopCrashed").await?;
        ensure!(event.ends_with("exit code 134 (Error): ... Xvnc: no screens found"), "{event}");

        let again = json!({ "running": { "startedAt": "2026-01-01T12:00:00Z" } });
        namespace.change_pod("desktop", container(1, again, end)).await?;
        let after = namespace.wait_running("desktop").await?;
        ensure!(
            after.start_time == before.start_time && after.expires_at == before.expires_at,
            "its timeout was reset"
        );
        Ok(())
    })
}

/// Everybody who may read sessions in the namespace can read a session's status.
#[test]
fn the_last_output_of_a_desktop_is_not_shown_unless_its_template_allows_it() -> Result<()> {
    with_stack(async |stack| {
        let namespace = running(stack, "discreet", json!({})).await?;
        let end = crash("Error", 1, "password: hunter2");
        namespace.change_pod("desktop", container(0, end, json!({}))).await?;
        let message = namespace.wait_message("desktop", Phase::Creating, "DesktopCrashed").await?;
        ensure!(message.ends_with("exit code 1 (Error)"), "{message}");
        let event = namespace.wait_event("desktop", "DesktopCrashed").await?;
        ensure!(!event.contains("hunter2"), "{event}");
        let pod = namespace.pods.get("vdi-desktop").await?;
        let policy = pod.spec.and_then(|spec| spec.containers.into_iter().next()?.termination_message_policy);
        ensure!(policy.as_deref() == Some("File"), "the kubelet would copy its log: {policy:?}");
        Ok(())
    })
}

#[test]
fn a_session_that_exceeds_its_memory_shows_the_limit() -> Result<()> {
    with_stack(async |stack| {
        let namespace = running(stack, "memory", json!({})).await?;
        namespace.change_pod("desktop", container(0, crash("OOMKilled", 137, ""), json!({}))).await?;
        let message = namespace.wait_message("desktop", Phase::Creating, "OutOfMemory").await?;
        ensure!(message.starts_with("the desktop exceeded its memory limit of 4Gi and is restarting"), "{message}");
        Ok(())
    })
}

#[test]
fn a_desktop_in_a_crash_loop_fails_its_session_which_releases_its_gpu_and_is_removed_later() -> Result<()> {
    with_stack(async |stack| {
        let namespace = running(stack, "crash-loop", json!({ "failedRetention": "5s", "logInStatus": true })).await?;
        let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        namespace.change_pod("desktop", container(3, waiting, crash("Error", 1, "no luck"))).await?;
        let message = namespace.wait_message("desktop", Phase::Failed, "CrashLoop").await?;
        ensure!(message.ends_with("exit code 1 (Error): no luck"), "{message}");
        wait_gone(&namespace.pods, "vdi-desktop").await?;
        wait_gone(&namespace.sessions, "desktop").await
    })
}

#[test]
fn a_desktop_that_exits_by_itself_fails_its_session() -> Result<()> {
    with_stack(async |stack| {
        let namespace = running(stack, "log-out", json!({})).await?;
        let mut done = container(0, crash("Completed", 0, ""), json!({}));
        done["phase"] = json!("Succeeded");
        namespace.change_pod("desktop", done).await?;
        let message = namespace.wait_message("desktop", Phase::Failed, "DesktopEnded").await?;
        ensure!(message == "the desktop ended with exit code 0 (Completed)", "{message}");
        Ok(())
    })
}

#[test]
fn a_pod_that_its_node_evicts_is_replaced_three_times() -> Result<()> {
    with_stack(async |stack| {
        let namespace = running(stack, "evicted", json!({})).await?;
        let evicted = json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage." });
        for count in 1..=3 {
            let before = namespace.pods.get("vdi-desktop").await?;
            namespace.change_pod("desktop", evicted.clone()).await?;
            wait_replaced(&namespace, &before).await?;
            let status = namespace.sessions.get("desktop").await?.status.context("no status")?;
            ensure!(status.failed_pods == count, "{status:?}");
        }
        ensure!(namespace.events("desktop", "Evicted").await? >= 1);
        namespace.change_pod("desktop", evicted).await?;
        let message = namespace.wait_message("desktop", Phase::Failed, "PodFailed").await?;
        ensure!(message == "evicted 4 times: Evicted: The node was low on resource: ephemeral-storage.", "{message}");
        Ok(())
    })
}

#[test]
fn a_pod_that_is_deleted_by_hand_is_replaced_and_the_timeout_keeps_running() -> Result<()> {
    with_stack(async |stack| {
        let namespace = running(stack, "by-hand", json!({})).await?;
        let status = namespace.sessions.get("desktop").await?.status.context("no status")?;
        for grace in [None, Some(0)] {
            let before = namespace.pods.get("vdi-desktop").await?;
            let how = DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() };
            namespace.pods.delete("vdi-desktop", &how).await?;
            wait_replaced(&namespace, &before).await?;
        }
        let after = namespace.wait_running("desktop").await?;
        ensure!((after.start_time, after.expires_at, after.url) == (status.start_time, status.expires_at, status.url));
        let events = namespace.events("desktop", "PodDeleted").await? + namespace.events("desktop", "PodLost").await?;
        ensure!(events >= 1, "its user gets no event");
        Ok(())
    })
}

#[test]
fn a_pod_that_is_drained_is_replaced() -> Result<()> {
    with_stack(async |stack| {
        let namespace = running(stack, "drained", json!({})).await?;
        let before = namespace.pods.get("vdi-desktop").await?;
        namespace.pods.evict("vdi-desktop", &EvictParams::default()).await?;
        wait_replaced(&namespace, &before).await
    })
}

#[test]
fn a_pod_whose_node_is_gone_is_replaced_on_another() -> Result<()> {
    with_stack(async |stack| {
        let lost = LostNode::with_a_desktop(stack, "gone").await?;
        // The taint manager deletes the pod of a node that doesn't respond. No kubelet confirms that, so the pod stays.
        // With the current time: the disruption controller resets a condition that is older than two minutes.
        let now = jiff::Timestamp::now().to_string();
        let disrupted = json!({ "conditions": [
            { "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "lastTransitionTime": now },
            { "type": "Ready", "status": "False" },
        ]});
        lost.namespace.change_pod("desktop", disrupted).await?;
        lost.namespace.pods.delete("vdi-desktop", &DeleteParams::default()).await?;
        lost.wait_message().await?;
        lost.open_another().await?;
        lost.nodes.delete(&lost.name, &DeleteParams::default()).await?;
        wait_replaced(&lost.namespace, &lost.pod).await
    })
}

/// Only Kubernetes acts here: its taint manager deletes the pod, and its pod garbage collector removes it.
#[test]
fn a_pod_whose_node_is_marked_out_of_service_is_replaced_on_another() -> Result<()> {
    with_stack(async |stack| {
        let lost = LostNode::with_a_desktop(stack, "out-of-service").await?;
        let silent = json!({ "status": { "conditions": [{ "type": "Ready", "status": "Unknown" }] } });
        lost.nodes.patch_status(&lost.name, &PatchParams::default(), &Patch::Strategic(silent)).await?;
        let taint =
            json!({ "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute" });
        let taint = json!({ "spec": { "taints": [taint] } });
        lost.nodes.patch(&lost.name, &PatchParams::default(), &Patch::Strategic(taint)).await?;
        lost.wait_message().await?;
        lost.open_another().await?;
        wait_replaced(&lost.namespace, &lost.pod).await
    })
}

/// A node that no longer responds, and the desktop on it.
struct LostNode {
    nodes: Api<Node>,
    name: String,
    pool: String,
    namespace: TestNamespace,
    pod: Pod,
}

impl LostNode {
    async fn with_a_desktop(stack: &Stack, how: &str) -> Result<Self> {
        let nodes: Api<Node> = Api::all(stack.cluster.admin());
        let (name, pool) = (format!("node-{how}"), format!("example.com/{how}"));
        create(&nodes, &unmanaged_node(&name, &pool)).await?;
        let namespace = TestNamespace::new(stack, &name).await?;
        namespace.template(json!({ "gpu": { "nodeSelector": { &pool: "yes" } } })).await?;
        namespace.session("desktop").await?;
        let placed = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let pod = wait_for(&namespace.pods, "vdi-desktop", "on its node", placed).await?;
        namespace.change_pod("desktop", container(0, json!({ "running": {} }), json!({}))).await?;
        namespace.wait_running("desktop").await?;
        Ok(Self { nodes, name, pool, namespace, pod })
    }

    /// The user gets a message, and no second pod starts while the first may still run.
    async fn wait_message(&self) -> Result<()> {
        let message = self.namespace.wait_message("desktop", Phase::Pending, "NodeLost").await?;
        ensure!(message.contains("its node does not respond"), "{message}");
        ensure!(
            self.namespace.pods.get("vdi-desktop").await?.metadata.uid == self.pod.metadata.uid,
            "a second pod was started"
        );
        Ok(())
    }

    /// Lets the session use another node.
    async fn open_another(&self) -> Result<()> {
        let label = json!({ "metadata": { "labels": { &self.pool: "yes" } } });
        self.nodes.patch("simulated-2", &PatchParams::default(), &Patch::Merge(label)).await?;
        Ok(())
    }
}

/// A node without a kubelet: the test reports for it.
fn unmanaged_node(name: &str, pool: &str) -> Node {
    let resources =
        json!({ "cpu": "8", "memory": "64Gi", "ephemeral-storage": "1Ti", "pods": "10", "nvidia.com/gpu": "4" });
    let node = json!({
        "metadata": { "name": name, "labels": { pool: "yes", "kubernetes.io/hostname": name } },
        "status": { "capacity": resources, "allocatable": resources, "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    serde_json::from_value(node).expect("a node")
}

#[test]
fn a_pod_that_another_admission_policy_refuses_is_reported_and_starts_once_allowed() -> Result<()> {
    with_stack(async |stack| {
        let client = stack.cluster.admin();
        let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
            "metadata": { "name": "no-desktops-here" },
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "refused" } },
                    "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
                },
                "validations": [{ "expression": "false", "message": "no desktops on Mondays" }],
            },
        }))?;
        let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
            "metadata": { "name": "no-desktops-here" },
            "spec": { "policyName": "no-desktops-here", "validationActions": ["Deny"] },
        }))?;
        create(&Api::all(client.clone()), &policy).await?;
        create(&Api::all(client.clone()), &binding).await?;
        let namespace = TestNamespace::new(stack, "refused").await?;
        wait_until_refused(&namespace).await?;

        namespace.template(json!({})).await?;
        namespace.session("desktop").await?;
        let message = namespace.wait_message("desktop", Phase::Pending, "PodRefused").await?;
        ensure!(message.contains("no desktops on Mondays"), "{message}");
        delete(&Api::<ValidatingAdmissionPolicyBinding>::all(client), "no-desktops-here").await?;
        namespace.wait_running("desktop").await?;
        Ok(())
    })
}

/// The API server applies a new policy with a short delay.
async fn wait_until_refused(namespace: &TestNamespace) -> Result<()> {
    let pod: Pod = serde_json::from_value(
        json!({ "metadata": { "name": "probe" }, "spec": { "containers": [{ "name": "a", "image": "a" }] } }),
    )?;
    let dry_run = kube::api::PostParams { dry_run: true, ..Default::default() };
    let refused = async || Ok(namespace.pods.create(&dry_run, &pod).await.is_err());
    until("the API server refuses pods", refused).await
}
