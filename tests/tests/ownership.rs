//! Ownership of objects, and the cleanup of those that a session leaves behind, on a real API server with simulated nodes.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, ResourceQuota},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PropagationPolicy},
};
use serde_json::{Value, json};
use vdi_api::Phase;
use vdi_tests::{
    audit,
    objects::{create, delete, session, wait_for, wait_gone},
    shared::with_stack,
    stack::{Settings, Stack, controller},
    test_namespace::TestNamespace,
    wait::until,
};

fn policies(namespace: &TestNamespace) -> Api<NetworkPolicy> {
    Api::namespaced(namespace.client.clone(), &namespace.name)
}

fn claims(namespace: &TestNamespace) -> Api<PersistentVolumeClaim> {
    Api::namespaced(namespace.client.clone(), &namespace.name)
}

fn egress() -> Value {
    json!({ "network": { "egress": [{ "cidr": "10.20.0.0/16", "ports": [443] }] } })
}

/// Limits the number of network policies in the namespace.
async fn limit_policies(namespace: &TestNamespace, count: usize) -> Result<Api<ResourceQuota>> {
    let quotas: Api<ResourceQuota> = Api::namespaced(namespace.client.clone(), &namespace.name);
    let hard = json!({ "count/networkpolicies.networking.k8s.io": count.to_string() });
    create(&quotas, &serde_json::from_value(json!({ "metadata": { "name": "policies" }, "spec": { "hard": hard } }))?)
        .await?;
    wait_for(&quotas, "policies", "in force", |quota: &ResourceQuota| {
        quota.status.as_ref().is_some_and(|status| status.hard.is_some())
    })
    .await?;
    Ok(quotas)
}

/// The name of the namespace's own network policy is `vdi-desktops`.
#[test]
fn a_session_that_is_called_desktops_leaves_the_namespaces_policy_as_it_is() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "called-desktops").await?;
        namespace.template(egress()).await?;
        namespace.session("bystander").await?;
        namespace.wait_running("bystander").await?;
        let before = policies(&namespace).get("vdi-desktops").await?;

        let uid = namespace.session("desktops").await?.uid().context("no uid")?;
        namespace.wait_running("desktops").await?;
        let own = policies(&namespace).get(&format!("vdi-session-{uid}")).await?;
        ensure!(own.owner_references().iter().any(|owner| owner.uid == uid), "{own:?}");
        let after = policies(&namespace).get("vdi-desktops").await?;
        ensure!(after.metadata.resource_version == before.metadata.resource_version, "{after:?}");
        Ok(())
    })
}

#[test]
fn everything_that_users_add_to_the_namespaces_policy_is_removed_again() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "added-to").await?;
        namespace.template(json!({})).await?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        let policies = policies(&namespace);
        let before = policies.get("vdi-desktops").await?;
        // A merge patch with the controller's fields would keep each of these.
        let added = json!({
            "spec": { "podSelector": { "matchLabels": { "vdi.kasm.io/session": "desktop" }, "matchExpressions": [
                { "key": "nobody", "operator": "Exists" },
            ] } },
        });
        let patched = policies.patch("vdi-desktops", &PatchParams::default(), &Patch::Merge(added)).await?;
        ensure!(patched.spec != before.spec);
        wait_for(&policies, "vdi-desktops", "as before", |policy: &NetworkPolicy| policy.spec == before.spec).await?;
        Ok(())
    })
}

#[test]
fn a_foreign_policy_of_our_name_is_never_written_and_no_desktop_starts_beside_it() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "foreign-policy").await?;
        namespace.template(json!({})).await?;
        let open = json!({ "metadata": { "name": "vdi-desktops" }, "spec": { "podSelector": {}, "ingress": [{}] } });
        let theirs = create(&policies(&namespace), &serde_json::from_value(open)?).await?;
        namespace.session("desktop").await?;
        let message = namespace.wait_message("desktop", Phase::Pending, "NetworkPolicyRefused").await?;
        ensure!(
            message.starts_with("network policy vdi-desktops: it exists and isn't managed by this controller"),
            "{message}"
        );
        let after = policies(&namespace).get("vdi-desktops").await?;
        ensure!(after.metadata.resource_version == theirs.metadata.resource_version, "{after:?}");
        ensure!(namespace.pods.get_opt("vdi-desktop").await?.is_none(), "it has a pod");
        delete(&policies(&namespace), "vdi-desktops").await?;
        namespace.wait_running("desktop").await?;
        Ok(())
    })
}

#[test]
fn no_desktop_starts_while_the_cluster_refuses_the_policy_that_isolates_it() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "refused-policy").await?;
        namespace.template(json!({})).await?;
        let quotas = limit_policies(&namespace, 0).await?;
        namespace.session("desktop").await?;
        namespace.wait("desktop", Phase::Pending, "NetworkPolicyRefused").await?;
        // The controller retries, and doesn't assume that a refused write succeeded.
        until("the controller asks again", async || {
            ensure!(namespace.pods.get_opt("vdi-desktop").await?.is_none(), "it has a pod, and no policy");
            let asked = audit::requests(&stack.cluster, &controller(), &namespace.name)?;
            Ok(asked.get("create networkpolicies").is_some_and(|times| *times >= 2))
        })
        .await?;
        delete(&quotas, "policies").await?;
        namespace.wait_running("desktop").await?;
        Ok(())
    })
}

#[test]
fn a_desktop_that_is_up_keeps_its_status_when_its_policy_is_refused_and_its_user_is_warned() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "refused-later").await?;
        namespace.template(json!({})).await?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        limit_policies(&namespace, 0).await?;
        delete(&policies(&namespace), "vdi-desktops").await?;
        let message = namespace.wait_event("desktop", "NetworkPolicyRefused").await?;
        ensure!(message.contains("network policy vdi-desktops") && message.contains("exceeded quota"), "{message}");
        let status = namespace.sessions.get("desktop").await?.status.context("no status")?;
        ensure!(status.phase == Phase::Running, "{status:?}");
        Ok(())
    })
}

#[test]
fn a_deleted_session_with_a_foreign_finalizer_still_releases_its_gpu() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "kept").await?;
        namespace.template(json!({})).await?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        let finalizers_patch = |finalizers: Value| Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
        let patch = finalizers_patch(json!(["example.com/x"]));
        namespace.sessions.patch("desktop", &PatchParams::default(), &patch).await?;
        namespace.sessions.delete("desktop", &DeleteParams::default()).await?;
        wait_gone(&namespace.pods, "vdi-desktop").await?;
        namespace.wait("desktop", Phase::Terminating, "Deleted").await?;
        namespace.sessions.patch("desktop", &PatchParams::default(), &finalizers_patch(Value::Null)).await?;
        wait_gone(&namespace.sessions, "desktop").await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_a_session_left_behind_are_deleted_even_if_no_controller_ran_at_the_time() -> Result<()> {
    let mut stack = Stack::start(&vdi_tests::target().join("clusters/left-behind"), Settings::default()).await?;
    let _nodes = vdi_cluster::SimulatedNodes::start(&stack.cluster, 1, 8).await?;
    let namespace = TestNamespace::new(&stack, "left-behind").await?;
    namespace.template(egress()).await?;
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..Default::default() };
    for name in ["seen", "unseen", "bystander"] {
        namespace.session(name).await?;
        namespace.wait_running(name).await?;
    }
    let own_policy = async |name: &str| -> Result<String> {
        Ok(format!("vdi-session-{}", namespace.sessions.get(name).await?.uid().context("no uid")?))
    };
    let (seen, unseen, bystander) =
        (own_policy("seen").await?, own_policy("unseen").await?, own_policy("bystander").await?);
    let left: Pod = namespace.pods.get("vdi-seen").await?;

    namespace.sessions.delete("seen", &orphan).await?;
    wait_gone(&namespace.sessions, "seen").await?;
    // Recreated at once, it is another session: it gets neither the pod nor the network policy of the first.
    namespace.session("seen").await?;
    wait_gone(&policies(&namespace), &seen).await?;
    wait_for(&namespace.pods, "vdi-seen", "another pod", |pod: &Pod| pod.metadata.uid != left.metadata.uid).await?;
    namespace.wait_running("seen").await?;

    stack.kill_controller()?;
    namespace.sessions.delete("unseen", &orphan).await?;
    wait_gone(&namespace.sessions, "unseen").await?;
    ensure!(namespace.pods.get("vdi-unseen").await?.owner_references().is_empty(), "it still has an owner");
    stack.start_controller().await?;
    wait_gone(&namespace.pods, "vdi-unseen").await?;
    wait_gone(&policies(&namespace), &unseen).await?;

    ensure!(policies(&namespace).get_opt(&bystander).await?.is_some(), "the policy of another session was deleted");
    let status = namespace.sessions.get("bystander").await?.status.context("no status")?;
    ensure!(status.phase == Phase::Running && namespace.pods.get_opt("vdi-bystander").await?.is_some(), "{status:?}");
    Ok(())
}

#[test]
fn a_recreated_session_gets_a_home_of_its_own_and_never_one_that_somebody_else_created() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "own-homes").await?;
        namespace.template(json!({ "home": { "mountPath": "/home/user", "scope": "Session" } })).await?;
        let home = |uid: &str| format!("vdi-session-{uid}");
        let first = namespace.session("desktop").await?.uid().context("no uid")?;
        namespace.wait_running("desktop").await?;
        // A finalizer keeps the home of the first session.
        let hold = Patch::Merge(json!({ "metadata": { "finalizers": ["example.com/x"] } }));
        claims(&namespace).patch(&home(&first), &PatchParams::default(), &hold).await?;
        delete(&namespace.sessions, "desktop").await?;
        let second = namespace.session("desktop").await?.uid().context("no uid")?;
        namespace.wait_running("desktop").await?;
        let created = claims(&namespace).get(&home(&second)).await?;
        ensure!(created.owner_references().iter().any(|owner| owner.uid == second), "{created:?}");
        let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        claims(&namespace).patch(&home(&first), &PatchParams::default(), &free).await?;

        // Somebody else creates the claim before the controller does.
        let mut suspended = session("taken", &namespace.name);
        suspended.spec.suspend = true;
        let uid = create(&namespace.sessions, &suspended).await?.uid().context("no uid")?;
        let theirs = json!({
            "metadata": { "name": home(&uid) },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        });
        create(&claims(&namespace), &serde_json::from_value(theirs)?).await?;
        namespace.change("taken", json!({ "suspend": false })).await?;
        let message = namespace.wait_message("taken", Phase::Pending, "HomeTaken").await?;
        ensure!(message.contains(&home(&uid)), "{message}");
        ensure!(namespace.pods.get_opt("vdi-taken").await?.is_none(), "it has a pod");
        delete(&claims(&namespace), &home(&uid)).await?;
        namespace.wait_running("taken").await?;
        Ok(())
    })
}

#[test]
fn a_deleted_home_is_recreated_for_a_pod_that_waits_for_a_node() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "home-again").await?;
        let nowhere = json!({ "resourceName": "nvidia.com/gpu", "nodeSelector": { "home-again": "yes" } });
        namespace.template(json!({ "home": { "mountPath": "/home/user" }, "gpu": nowhere })).await?;
        namespace.session("desktop").await?;
        namespace.wait("desktop", Phase::Pending, "Unschedulable").await?;
        let home = claims(&namespace).list(&Default::default()).await?.items.pop().context("no home")?;
        delete(&claims(&namespace), &home.name_any()).await?;
        wait_for(&claims(&namespace), &home.name_any(), "recreated", |claim: &PersistentVolumeClaim| {
            claim.metadata.uid != home.metadata.uid
        })
        .await?;
        Ok(())
    })
}
