//! What is ours and what isn't, and what becomes of what a session leaves behind, on a real API server with simulated nodes.

use std::{future::Future, time::Duration};

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
    objects::{Space, create, delete, session, wait_for, wait_gone},
    shared::with_stack,
    stack::{Settings, Stack, controller},
};

fn policies(space: &Space) -> Api<NetworkPolicy> {
    Api::namespaced(space.client.clone(), &space.name)
}

fn claims(space: &Space) -> Api<PersistentVolumeClaim> {
    Api::namespaced(space.client.clone(), &space.name)
}

fn egress() -> Value {
    json!({ "network": { "egress": [{ "cidr": "10.20.0.0/16", "ports": [443] }] } })
}

/// Lets the cluster have so many network policies in the space.
async fn limit_policies(space: &Space, count: usize) -> Result<Api<ResourceQuota>> {
    let quotas: Api<ResourceQuota> = Api::namespaced(space.client.clone(), &space.name);
    let hard = json!({ "count/networkpolicies.networking.k8s.io": count.to_string() });
    create(&quotas, &serde_json::from_value(json!({ "metadata": { "name": "policies" }, "spec": { "hard": hard } }))?)
        .await?;
    wait_for(&quotas, "policies", "in force", |quota: &ResourceQuota| {
        quota.status.as_ref().is_some_and(|status| status.hard.is_some())
    })
    .await?;
    Ok(quotas)
}

async fn until<F: Future<Output = Result<bool>>>(what: &str, mut is_so: impl FnMut() -> F) -> Result<()> {
    for _ in 0..900 {
        if is_so().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("not within 90 seconds: {what}")
}

/// The name of the namespace's own network policy is `vdi-desktops`.
#[test]
fn a_session_that_is_called_desktops_leaves_the_namespaces_policy_as_it_is() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "called-desktops").await?;
        space.template(egress()).await?;
        space.session("bystander").await?;
        space.wait_running("bystander").await?;
        let before = policies(&space).get("vdi-desktops").await?;

        let uid = space.session("desktops").await?.uid().context("no uid")?;
        space.wait_running("desktops").await?;
        let own = policies(&space).get(&format!("vdi-session-{uid}")).await?;
        ensure!(own.owner_references().iter().any(|owner| owner.uid == uid), "{own:?}");
        let after = policies(&space).get("vdi-desktops").await?;
        ensure!(after.metadata.resource_version == before.metadata.resource_version, "{after:?}");
        Ok(())
    })
}

#[test]
fn what_somebody_added_to_the_namespaces_policy_goes_again_as_a_whole() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "added-to").await?;
        space.template(json!({})).await?;
        space.session("desktop").await?;
        space.wait_running("desktop").await?;
        let policies = policies(&space);
        let before = policies.get("vdi-desktops").await?;
        // A merge patch that names the same fields would leave each of these.
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
fn somebody_elses_policy_of_our_name_is_never_written_and_nothing_starts_beside_it() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "foreign-policy").await?;
        space.template(json!({})).await?;
        let open = json!({ "metadata": { "name": "vdi-desktops" }, "spec": { "podSelector": {}, "ingress": [{}] } });
        let theirs = create(&policies(&space), &serde_json::from_value(open)?).await?;
        space.session("desktop").await?;
        let told = space.wait_told("desktop", Phase::Pending, "NetworkPolicyRefused").await?;
        ensure!(told.starts_with("network policy vdi-desktops: it exists, and is not this controller's"), "{told}");
        let after = policies(&space).get("vdi-desktops").await?;
        ensure!(after.metadata.resource_version == theirs.metadata.resource_version, "{after:?}");
        ensure!(space.pods.get_opt("vdi-desktop").await?.is_none(), "it has a pod");
        delete(&policies(&space), "vdi-desktops").await?;
        space.wait_running("desktop").await?;
        Ok(())
    })
}

#[test]
fn no_desktop_starts_while_the_cluster_refuses_the_policy_that_isolates_it() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "refused-policy").await?;
        space.template(json!({})).await?;
        let quotas = limit_policies(&space, 0).await?;
        space.session("desktop").await?;
        space.wait("desktop", Phase::Pending, "NetworkPolicyRefused").await?;
        // It is asked again, and what was refused once isn't taken for done.
        until("it was asked for again", || async {
            ensure!(space.pods.get_opt("vdi-desktop").await?.is_none(), "it has a pod, and no policy");
            let asked = audit::requests(&stack.cluster, &controller(), &space.name)?;
            Ok(asked.get("create networkpolicies").is_some_and(|times| *times >= 2))
        })
        .await?;
        delete(&quotas, "policies").await?;
        space.wait_running("desktop").await?;
        Ok(())
    })
}

#[test]
fn a_desktop_that_is_up_keeps_its_status_when_its_policy_is_refused_and_its_user_is_warned() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "refused-later").await?;
        space.template(json!({})).await?;
        space.session("desktop").await?;
        space.wait_running("desktop").await?;
        limit_policies(&space, 0).await?;
        delete(&policies(&space), "vdi-desktops").await?;
        let told = space.wait_event("desktop", "NetworkPolicyRefused").await?;
        ensure!(told.contains("network policy vdi-desktops") && told.contains("exceeded quota"), "{told}");
        let status = space.sessions.get("desktop").await?.status.context("no status")?;
        ensure!(status.phase == Phase::Running, "{status:?}");
        Ok(())
    })
}

#[test]
fn a_session_that_somebody_keeps_from_going_gives_its_gpu_back_all_the_same() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "kept").await?;
        space.template(json!({})).await?;
        space.session("desktop").await?;
        space.wait_running("desktop").await?;
        let kept = |finalizers: Value| Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
        let keep = kept(json!(["example.com/x"]));
        space.sessions.patch("desktop", &PatchParams::default(), &keep).await?;
        space.sessions.delete("desktop", &DeleteParams::default()).await?;
        wait_gone(&space.pods, "vdi-desktop").await?;
        space.wait("desktop", Phase::Terminating, "Deleted").await?;
        space.sessions.patch("desktop", &PatchParams::default(), &kept(Value::Null)).await?;
        wait_gone(&space.sessions, "desktop").await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_left_behind_is_ended_also_when_no_controller_ran_at_the_time() -> Result<()> {
    let mut stack = Stack::start(&vdi_tests::target().join("clusters/left-behind"), Settings::default()).await?;
    let _nodes = vdi_cluster::SimulatedNodes::start(&stack.cluster, 1, 8).await?;
    let space = Space::new(&stack, "left-behind").await?;
    space.template(egress()).await?;
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..Default::default() };
    for name in ["seen", "unseen", "bystander"] {
        space.session(name).await?;
        space.wait_running(name).await?;
    }
    let own_policy = async |name: &str| -> Result<String> {
        Ok(format!("vdi-session-{}", space.sessions.get(name).await?.uid().context("no uid")?))
    };
    let (seen, unseen, bystander) =
        (own_policy("seen").await?, own_policy("unseen").await?, own_policy("bystander").await?);
    let left: Pod = space.pods.get("vdi-seen").await?;

    space.sessions.delete("seen", &orphan).await?;
    wait_gone(&space.sessions, "seen").await?;
    // Made again at once, it is another session: it gets neither the pod nor the network of the first.
    space.session("seen").await?;
    wait_gone(&policies(&space), &seen).await?;
    wait_for(&space.pods, "vdi-seen", "another pod", |pod: &Pod| pod.metadata.uid != left.metadata.uid).await?;
    space.wait_running("seen").await?;

    stack.kill_controller()?;
    space.sessions.delete("unseen", &orphan).await?;
    wait_gone(&space.sessions, "unseen").await?;
    ensure!(space.pods.get("vdi-unseen").await?.owner_references().is_empty(), "nobody owns it any more");
    stack.start_controller().await?;
    wait_gone(&space.pods, "vdi-unseen").await?;
    wait_gone(&policies(&space), &unseen).await?;

    ensure!(policies(&space).get_opt(&bystander).await?.is_some(), "what has a session stays");
    let status = space.sessions.get("bystander").await?.status.context("no status")?;
    ensure!(status.phase == Phase::Running && space.pods.get_opt("vdi-bystander").await?.is_some(), "{status:?}");
    Ok(())
}

#[test]
fn a_session_that_is_made_again_gets_a_home_of_its_own_and_never_one_that_somebody_else_made() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "own-homes").await?;
        space.template(json!({ "home": { "mountPath": "/home/user", "scope": "Session" } })).await?;
        let home = |uid: &str| format!("vdi-session-{uid}");
        let first = space.session("desktop").await?.uid().context("no uid")?;
        space.wait_running("desktop").await?;
        // The first one's home can't go while somebody holds on to it.
        let hold = Patch::Merge(json!({ "metadata": { "finalizers": ["example.com/x"] } }));
        claims(&space).patch(&home(&first), &PatchParams::default(), &hold).await?;
        delete(&space.sessions, "desktop").await?;
        let second = space.session("desktop").await?.uid().context("no uid")?;
        space.wait_running("desktop").await?;
        let made = claims(&space).get(&home(&second)).await?;
        ensure!(made.owner_references().iter().any(|owner| owner.uid == second), "{made:?}");
        let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        claims(&space).patch(&home(&first), &PatchParams::default(), &free).await?;

        // Somebody who was faster than the controller.
        let mut suspended = session("taken", &space.name);
        suspended.spec.suspend = true;
        let uid = create(&space.sessions, &suspended).await?.uid().context("no uid")?;
        let theirs = json!({
            "metadata": { "name": home(&uid) },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        });
        create(&claims(&space), &serde_json::from_value(theirs)?).await?;
        space.change("taken", json!({ "suspend": false })).await?;
        let told = space.wait_told("taken", Phase::Pending, "HomeTaken").await?;
        ensure!(told.contains(&home(&uid)), "{told}");
        ensure!(space.pods.get_opt("vdi-taken").await?.is_none(), "it is mounted");
        delete(&claims(&space), &home(&uid)).await?;
        space.wait_running("taken").await?;
        Ok(())
    })
}

#[test]
fn a_pod_that_waits_for_a_node_gets_its_home_made_again_when_that_was_deleted() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "home-again").await?;
        let nowhere = json!({ "resourceName": "nvidia.com/gpu", "nodeSelector": { "home-again": "yes" } });
        space.template(json!({ "home": { "mountPath": "/home/user" }, "gpu": nowhere })).await?;
        space.session("desktop").await?;
        space.wait("desktop", Phase::Pending, "Unschedulable").await?;
        let home = claims(&space).list(&Default::default()).await?.items.pop().context("no home")?;
        delete(&claims(&space), &home.name_any()).await?;
        wait_for(&claims(&space), &home.name_any(), "made again", |claim: &PersistentVolumeClaim| {
            claim.metadata.uid != home.metadata.uid
        })
        .await?;
        Ok(())
    })
}
