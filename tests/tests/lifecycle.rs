//! Templates, homes, timeouts, network policies and the end of sessions, on a real API server with simulated nodes.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::{Json, Router, extract::State, routing::get};
use k8s_openapi::api::{
    core::v1::{Namespace, PersistentVolumeClaim, Pod},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PropagationPolicy},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vdi_api::{Expiry, Phase, VDITemplate};
use vdi_cluster::SimulatedNodes;
use vdi_tests::{
    audit,
    objects::{create, delete, session, wait_for, wait_gone},
    shared::with_stack,
    stack::{Settings, Stack, controller},
    test_namespace::TestNamespace,
    wait::until,
};

#[test]
fn a_changed_template_applies_to_new_sessions_and_leaves_running_ones_alone() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "changes").await?;
        namespace.template(json!({ "maxTimeout": "9h" })).await?;
        namespace.session("old").await?;
        let before = namespace.wait_running("old").await?;
        ensure!(before.template_generation == Some(1));
        let version = namespace.sessions.get("old").await?.resource_version();

        let templates: Api<VDITemplate> = Api::all(namespace.client.clone());
        let change = json!({ "spec": { "image": "registry.example.com/desktop:2", "maxTimeout": "1h" } });
        templates.patch("changes", &PatchParams::default(), &Patch::Merge(change)).await?;
        namespace.session("new").await?;
        let after = namespace.wait_running("new").await?;
        ensure!((after.template_generation, after.expiry) == (Some(2), Some(Expiry::MaxTimeout)), "{after:?}");
        ensure!(namespace.sessions.get("old").await?.resource_version() == version, "the old session was written");
        Ok(())
    })
}

#[test]
fn a_template_counts_its_sessions() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "counted").await?;
        namespace.template(json!({})).await?;
        let templates: Api<VDITemplate> = Api::all(namespace.client.clone());
        let counts =
            |count| move |template: &VDITemplate| template.status.as_ref().is_some_and(|s| s.sessions == count);
        for name in ["one", "two"] {
            namespace.session(name).await?;
        }
        wait_for(&templates, "counted", "used by two", counts(2)).await?;
        delete(&namespace.sessions, "one").await?;
        wait_for(&templates, "counted", "used by one", counts(1)).await?;
        Ok(())
    })
}

#[test]
fn each_new_session_of_a_deprecated_template_gets_one_event() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "deprecated").await?;
        namespace
            .template(json!({ "deprecated": { "message": "no updates since 2024", "replacement": "ubuntu-24" } }))
            .await?;
        namespace.session("desktop").await?;
        let message = namespace.wait_event("desktop", "TemplateDeprecated").await?;
        ensure!(
            message == "VDITemplate \"deprecated\" is deprecated: no updates since 2024; use \"ubuntu-24\" instead",
            "{message}"
        );
        namespace.wait_running("desktop").await?;
        ensure!(namespace.events("desktop", "TemplateDeprecated").await? == 1);
        Ok(())
    })
}

fn claims(namespace: &TestNamespace) -> Api<PersistentVolumeClaim> {
    Api::namespaced(namespace.client.clone(), &namespace.name)
}

/// The name of the claim with a session's home.
async fn home_of(namespace: &TestNamespace, session: &str) -> Result<String> {
    let pod = namespace.pods.get(&format!("vdi-{session}")).await?;
    let volumes = pod.spec.and_then(|spec| spec.volumes).unwrap_or_default();
    let claim = volumes.into_iter().find_map(|volume| volume.persistent_volume_claim);
    Ok(claim.context("the pod has no home")?.claim_name)
}

#[test]
fn a_home_is_made_once_for_a_user_and_outlives_the_session() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "homes").await?;
        namespace.template(json!({ "home": { "mountPath": "/home/user", "size": "1Gi" } })).await?;
        namespace.session("first").await?;
        namespace.wait_running("first").await?;
        let home = home_of(&namespace, "first").await?;
        let created = claims(&namespace).get(&home).await?;
        delete(&namespace.sessions, "first").await?;
        wait_gone(&namespace.pods, "vdi-first").await?;
        namespace.session("second").await?;
        namespace.wait_running("second").await?;
        ensure!(home_of(&namespace, "second").await? == home);
        let kept = claims(&namespace).get(&home).await?;
        ensure!(kept.metadata.uid == created.metadata.uid && kept.metadata.owner_references.is_none(), "{kept:?}");
        Ok(())
    })
}

#[test]
fn a_sessions_own_home_goes_with_it() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "own-home").await?;
        namespace.template(json!({ "home": { "mountPath": "/home/user", "scope": "Session" } })).await?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        let home = home_of(&namespace, "desktop").await?;
        delete(&namespace.sessions, "desktop").await?;
        wait_gone(&claims(&namespace), &home).await
    })
}

#[test]
fn a_session_waits_for_a_home_in_use_and_starts_once_it_is_free() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "in-use").await?;
        namespace.template(json!({ "home": { "mountPath": "/home/user" } })).await?;
        // Created at the same time, only one of them gets the home.
        let both = [session("first", "in-use"), session("second", "in-use")];
        futures::future::try_join_all(both.iter().map(|session| create(&namespace.sessions, session))).await?;
        let waits = async |waits: &'static str, runs: &'static str| -> Result<_> {
            let message = namespace.wait_message(waits, Phase::Pending, "HomeInUse").await?;
            ensure!(
                message
                    == format!("the home volume is in use by session {runs:?}; only one session can use it at a time"),
                "{message}"
            );
            Ok((waits, runs))
        };
        let (waits, runs) = tokio::select! {
            one = waits("second", "first") => one?,
            other = waits("first", "second") => other?,
        };
        namespace.wait_running(runs).await?;
        ensure!(namespace.pods.get_opt(&format!("vdi-{waits}")).await?.is_none());
        namespace.change(runs, json!({ "suspend": true })).await?;
        namespace.wait_running(waits).await?;
        Ok(())
    })
}

#[test]
fn a_session_whose_home_gets_no_volume_shows_the_provisioners_message() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "unbound").await?;
        namespace.template(json!({ "home": { "mountPath": "/home/user", "storageClassName": "missing" } })).await?;
        namespace.session("desktop").await?;
        let shows_message = |session: &vdi_api::VDISession| {
            let ready = session.status.as_ref().and_then(|status| status.ready());
            ready.is_some_and(|ready| {
                ready.reason == "HomeUnbound"
                    && ready.message.contains("storageclass.storage.k8s.io \"missing\" not found")
            })
        };
        wait_for(&namespace.sessions, "desktop", "shows the message", shows_message).await?;
        Ok(())
    })
}

#[test]
fn the_templates_maximum_ends_a_session_whose_timeout_is_longer() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "maximum").await?;
        namespace.template(json!({ "maxTimeout": "3s" })).await?;
        namespace.session("desktop").await?;
        let running = namespace.wait_running("desktop").await?;
        ensure!(running.expiry == Some(Expiry::MaxTimeout));
        wait_gone(&namespace.sessions, "desktop").await
    })
}

#[test]
fn a_user_is_warned_of_the_end_once_per_warning_time() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "warnings").await?;
        namespace.template(json!({})).await?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        ensure!(namespace.events("desktop", "ExpiresSoon").await? == 0);
        // As if the session had run for an hour and had some minutes left.
        let hour_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(60);
        let started = json!({ "status": { "startTime": hour_ago.to_string() } });
        namespace.sessions.patch_status("desktop", &PatchParams::default(), &Patch::Merge(started)).await?;
        namespace.change("desktop", json!({ "timeout": "70m" })).await?;
        let message = namespace.wait_event("desktop", "ExpiresSoon").await?;
        ensure!(
            message.starts_with("the session times out soon; raise spec.timeout to extend it. It ends at"),
            "{message}"
        );
        namespace.change("desktop", json!({ "timeout": "64m" })).await?;
        let status = namespace.sessions.get("desktop").await?.status.context("no status")?;
        ensure!(status.phase == Phase::Running);
        let warned_twice = async || Ok(namespace.events("desktop", "ExpiresSoon").await? >= 2);
        until("another event ExpiresSoon", warned_twice).await
    })
}

#[test]
fn a_network_policy_protects_a_desktop_before_its_pod_exists_and_is_restored_when_changed() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "network").await?;
        let policies: Api<NetworkPolicy> = Api::namespaced(namespace.client.clone(), "network");
        namespace.template(json!({ "network": { "egress": [{ "cidr": "10.20.0.0/16", "ports": [443] }] } })).await?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        let requests: Vec<String> = audit::events(&stack.cluster.audit_log(), &controller())?
            .iter()
            .filter(|event| event["objectRef"]["namespace"] == "network" && event["verb"] == "create")
            .map(|event| event["objectRef"]["resource"].as_str().unwrap_or_default().to_owned())
            .collect();
        ensure!(requests == ["networkpolicies", "networkpolicies", "pods"], "{requests:?}");

        // It is restored when somebody deletes or weakens it.
        let before = policies.get("vdi-desktops").await?;
        policies.delete("vdi-desktops", &DeleteParams::default()).await?;
        wait_for(&policies, "vdi-desktops", "recreated", |policy: &NetworkPolicy| {
            policy.metadata.uid != before.metadata.uid
        })
        .await?;
        let weak = json!({ "spec": { "ingress": [{}] } });
        policies.patch("vdi-desktops", &PatchParams::default(), &Patch::Merge(weak)).await?;
        wait_for(&policies, "vdi-desktops", "restored", |policy: &NetworkPolicy| policy.spec == before.spec).await?;
        // The session's own policy is deleted with it.
        let uid = namespace.sessions.get("desktop").await?.uid().context("no uid")?;
        delete(&namespace.sessions, "desktop").await?;
        wait_gone(&policies, &format!("vdi-session-{uid}")).await
    })
}

/// A desktop that reports its renderer. Simulated pods have loopback addresses, so this answers there.
async fn desktop_that_renders_with(renderer: &'static str) -> Result<u16> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(axum::serve(listener, Router::new().route("/renderer", get(async move || renderer))).into_future());
    Ok(port)
}

#[test]
fn the_status_says_whether_a_desktop_renders_on_a_gpu_and_an_event_warns_of_software() -> Result<()> {
    with_stack(async |stack| {
        for (name, renderer, expected) in [
            ("gpu", "NVIDIA H100 80GB HBM3/PCIe/SSE2\n", ("True", "renders with NVIDIA H100 80GB HBM3/PCIe/SSE2")),
            ("software", "llvmpipe (LLVM 15)", ("False", "renders in software, with llvmpipe (LLVM 15)")),
        ] {
            let port = desktop_that_renders_with(renderer).await?;
            let namespace = TestNamespace::new(stack, &format!("renders-{name}")).await?;
            namespace.template(json!({ "port": port, "gpu": { "rendererPath": "/renderer" } })).await?;
            namespace.session("desktop").await?;
            let status = namespace.wait_running("desktop").await?;
            let condition =
                status.conditions.iter().find(|condition| condition.type_ == "Accelerated").context("no condition")?;
            ensure!((&*condition.status, &*condition.message) == expected, "{condition:?}");
            if name == "software" {
                let message = namespace.wait_event("desktop", "SoftwareRendering").await?;
                ensure!(
                    message == "the session has GPUs but renders in software, with llvmpipe (LLVM 15)",
                    "{message}"
                );
            }
        }
        let namespace = TestNamespace::new(stack, "renders-unknown").await?;
        namespace.template(json!({})).await?;
        namespace.session("desktop").await?;
        let status = namespace.wait_running("desktop").await?;
        ensure!(status.conditions.iter().any(|c| c.type_ == "Accelerated" && c.status == "Unknown"), "{status:?}");
        Ok(())
    })
}

#[test]
fn however_a_session_is_deleted_its_pod_goes_and_the_next_one_of_its_name_starts() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "deletion").await?;
        namespace.template(json!({})).await?;
        for policy in [PropagationPolicy::Background, PropagationPolicy::Foreground, PropagationPolicy::Orphan] {
            namespace.session("desktop").await?;
            namespace.wait_running("desktop").await?;
            let how = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
            namespace.sessions.delete("desktop", &how).await?;
            wait_gone(&namespace.sessions, "desktop").await?;
            wait_gone(&namespace.pods, "vdi-desktop").await?;
        }
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        let namespaces: Api<Namespace> = Api::all(namespace.client.clone());
        delete(&namespaces, "deletion").await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_the_crd_deletes_all_sessions_and_pods_and_recreating_it_allows_new_ones() -> Result<()> {
    let stack = Stack::start(&vdi_tests::target().join("clusters/crd-deleted"), Settings::default()).await?;
    let _nodes = SimulatedNodes::start(&stack.cluster, 1, 8).await?;
    let namespace = TestNamespace::new(&stack, "crd").await?;
    namespace.template(json!({})).await?;
    // The garbage collector discovers a new kind after a while. Until then it deletes nothing that such objects own.
    namespace.session("first").await?;
    namespace.wait_running("first").await?;
    // Only the garbage collector completes this deletion.
    let foreground = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..Default::default() };
    namespace.sessions.delete("first", &foreground).await?;
    wait_gone(&namespace.sessions, "first").await?;
    namespace.session("desktop").await?;
    namespace.wait_running("desktop").await?;
    let crd = vdi_tests::helm::crds().join("vdisessions.yaml").display().to_string();
    let admin = vdi_cluster::User::admin();
    stack.kubectl_ok(&admin, ["delete", "--wait", "-f", &crd]).await?;
    wait_gone(&namespace.pods, "vdi-desktop").await?;
    stack.kubectl_ok(&admin, ["apply", "-f", &crd]).await?;
    stack.kubectl_ok(&admin, ["wait", "--for=condition=Established", "crd/vdisessions.vdi.kasm.io"]).await?;
    namespace.session("desktop").await?;
    namespace.wait_running("desktop").await?;
    Ok(())
}

/// The gateways' reports: the seconds since each session's last input.
type Inputs = Arc<Mutex<Option<HashMap<String, f64>>>>;

/// Serves a fake gateway's activity page. Without inputs, it responds with an error.
async fn fake_gateway(inputs: Inputs) -> Result<SocketAddr> {
    async fn answer(State(inputs): State<Inputs>) -> Result<Json<Value>, axum::http::StatusCode> {
        let inputs = inputs.lock().map_err(|_| axum::http::StatusCode::INTERNAL_SERVER_ERROR)?.clone();
        let inputs = inputs.ok_or(axum::http::StatusCode::SERVICE_UNAVAILABLE)?;
        Ok(Json(json!({ "replica": "the only one", "isOver": false, "lastInput": inputs })))
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, Router::new().route("/activity", get(answer)).with_state(inputs)).into_future());
    Ok(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_desktop_ends_and_one_in_use_costs_no_requests() -> Result<()> {
    let inputs = Inputs::default();
    let gateway = fake_gateway(inputs.clone()).await?;
    let flags = vec![format!("--activity-url=http://{gateway}/activity")];
    let settings = Settings { controller: flags, ..Settings::default() };
    let stack = Stack::start(&vdi_tests::target().join("clusters/idle"), settings).await?;
    let _nodes = SimulatedNodes::start(&stack.cluster, 1, 8).await?;
    let namespace = TestNamespace::new(&stack, "idle").await?;
    namespace.template(json!({ "idleTimeout": "10s" })).await?;
    for name in ["used", "left"] {
        namespace.session(name).await?;
        namespace.wait_running(name).await?;
    }
    // Longer than the idle timeout: while a gateway doesn't report, no session counts as idle.
    tokio::time::sleep(Duration::from_secs(12)).await;
    for name in ["used", "left"] {
        ensure!(namespace.wait_running(name).await?.expiry == Some(Expiry::Timeout), "{name}");
    }
    let before = audit::requests(&stack.cluster, &controller(), "idle")?;
    let used = namespace.sessions.get("used").await?.uid().context("no uid")?;
    *inputs.lock().map_err(|_| anyhow::anyhow!("poisoned"))? = Some([(used, 1.0)].into());
    let message = namespace.wait_message("left", Phase::Terminating, "Idle").await?;
    ensure!(message.starts_with("stopped at ") && message.ends_with(" because nobody was using it"), "{message}");
    wait_gone(&namespace.sessions, "left").await?;
    let status = namespace.wait_running("used").await?;
    ensure!(status.expiry == Some(Expiry::Timeout), "{status:?}");
    let after = audit::requests(&stack.cluster, &controller(), "idle")?;
    let patches = |requests: &audit::Requests| requests.get("patch vdisessions/status").copied().unwrap_or_default();
    ensure!(patches(&after) - patches(&before) <= 2, "only the session that ended may cost patches: {after:#?}");
    Ok(())
}

#[test]
fn a_pod_that_waits_for_scheduling_gates_is_left_to_whoever_set_them() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "gates").await?;
        namespace.template(json!({ "podLabels": { "kueue.x-k8s.io/queue-name": "gpus" }, "gpu": { "nodeSelector": { "pool": "gated" } } })).await?;
        namespace.session("desktop").await?;
        namespace.wait("desktop", Phase::Pending, "Unschedulable").await?;
        let pod: Pod = namespace.pods.get("vdi-desktop").await?;
        ensure!(pod.labels().get("kueue.x-k8s.io/queue-name").map(String::as_str) == Some("gpus"));
        // As with Kueue's webhook: the API server sets this condition on a pod that is created with scheduling gates.
        let gated = json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates" }] });
        namespace.change_pod("desktop", gated).await?;
        let message = namespace.wait_message("desktop", Phase::Pending, "SchedulingGated").await?;
        ensure!(message == "Scheduling is blocked due to non-empty scheduling gates", "{message}");
        Ok(())
    })
}
