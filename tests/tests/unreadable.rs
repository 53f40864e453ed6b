//! Objects that the programs can't parse: impossible times that a user wrote into metadata, and values of a newer version. Each
//! affects only itself, also after restarts. On a real API server, with a cluster for each test.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicyBinding, core::v1::Event, rbac::v1::RoleBinding,
    scheduling::v1::PriorityClass,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use vdi_api::{Phase, VDISession};
use vdi_tests::{
    fixture::Fixture,
    gateway::Gateway,
    http,
    objects::{create, session, wait_for},
    shared::directory,
    stack::{Stack, alice, bob},
    test_namespace::TestNamespace,
    visitor::Visitor,
    wait::{PATIENCE, until},
};

async fn fixture(name: &str) -> Result<Fixture> {
    Fixture::start(&directory().with_file_name(name)).await
}

/// Sends a merge patch, and returns the response as plain JSON.
async fn patch(client: &Client, path: &str, patch: &Value) -> Result<Value> {
    let request = http_request("PATCH", path).header("content-type", "application/merge-patch+json");
    client.request(request.body(patch.to_string().into())?).await.with_context(|| format!("patching {path}"))
}

async fn get(client: &Client, path: &str) -> Result<Value> {
    client.request(http_request("GET", path).body(Vec::new())?).await.with_context(|| format!("reading {path}"))
}

fn http_request(method: &str, path: &str) -> hyper::http::request::Builder {
    hyper::Request::builder().method(method).uri(path)
}

/// Writes a time that our types can't hold into managedFields, where the API server keeps it.
async fn corrupt(client: &Client, path: &str) -> Result<()> {
    const LAST: &str = "9999-12-31T23:59:59Z";
    let before = get(client, path).await?;
    let mut fields = before["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    fields.push(json!({
        "manager": "spoilt", "operation": "Update", "apiVersion": before["apiVersion"], "time": LAST,
        "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": { "f:annotations": { "f:spoilt": {} } } },
    }));
    patch(client, path, &json!({ "metadata": { "managedFields": fields } })).await?;
    let after = get(client, path).await?.to_string();
    ensure!(after.contains(LAST), "the API server didn't keep the time, so this test shows nothing: {after}");
    Ok(())
}

/// How many objects a program has set aside, for each kind that it lists or watches.
fn set_aside(page: &str) -> BTreeMap<String, u64> {
    let count = |line: &str| {
        let (kind, count) = line.split_once("objects_set_aside{kind=\"")?.1.split_once("\"} ")?;
        Some((kind.to_owned(), count.parse().ok()?))
    };
    page.lines().filter_map(count).collect()
}

async fn controller_metrics(stack: &mut Stack) -> Result<String> {
    Ok(http::get(stack.controller_address().await?, "/metrics").await?.1)
}

async fn restart_controller(stack: &mut Stack) -> Result<()> {
    stack.stop_controller()?;
    start_controller(stack).await
}

async fn start_controller(stack: &mut Stack) -> Result<()> {
    stack.start_controller().await?;
    let leads = async || Ok(controller_metrics(stack).await?.contains("\nvdi_controller_leader 1\n"));
    until("the controller leads", leads).await
}

/// Starts a session of bob's in a namespace of its own, and opens its desktop.
async fn start_and_open(fixture: &Fixture, name: &str, gateway: &Gateway) -> Result<()> {
    let namespace = TestNamespace::new(&fixture.stack, name).await?;
    namespace.template(json!({ "port": fixture.desktop_port })).await?;
    let mut bobs = session("desktop", name);
    bobs.spec.user = bob().name;
    create(&namespace.sessions, &bobs).await?;
    namespace.wait_running("desktop").await?;
    Visitor::at_desktop(&[gateway], &fixture.stack, &bob(), name, "desktop").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn unparseable_metadata_that_users_write_locks_nobody_out() -> Result<()> {
    let mut fixture = fixture("unreadable-fields").await?;
    let admin = fixture.stack.cluster.admin();
    let namespace = TestNamespace::new(&fixture.stack, "alices").await?;
    namespace.template(json!({ "port": fixture.desktop_port, "home": { "mountPath": "/home/user" } })).await?;
    namespace.session("desktop").await?;
    namespace.wait_running("desktop").await?;
    let mut gateway = fixture.gateway("gateway-before", fixture.public_port, &[]).await?;
    Visitor::at_desktop(&[&gateway], &fixture.stack, &alice(), "alices", "desktop").await?;

    // Every watch reports its kind, so a new kind can't be forgotten here.
    let mut kinds = set_aside(&controller_metrics(&mut fixture.stack).await?);
    ensure!(kinds.len() >= 7, "{kinds:?}");
    kinds.append(&mut set_aside(&gateway.replica.metrics().await?));
    let claims = get(&admin, "/api/v1/namespaces/alices/persistentvolumeclaims").await?;
    let claim = claims["items"][0]["metadata"]["name"].as_str().context("no claim")?.to_owned();
    let leases = get(&admin, "/apis/coordination.k8s.io/v1/namespaces/vdiwarden-system-codes/leases").await?;
    let leases = leases["items"].as_array().context("no leases")?.iter();
    let mut leases = leases.filter_map(|lease| lease["metadata"]["name"].as_str());
    let used_code = leases.find(|name| name.starts_with("vdi-used-code-")).context("no used code")?.to_owned();
    let priority = json!({ "metadata": { "name": "spoilt" }, "value": 7 });
    create(&Api::all(admin.clone()), &serde_json::from_value::<PriorityClass>(priority)?).await?;
    let event = json!({
        "metadata": { "name": "spoilt" }, "type": "Warning", "reason": "ProvisioningFailed",
        "involvedObject": { "kind": "PersistentVolumeClaim", "name": claim, "namespace": "alices" },
    });
    Api::<Event>::namespaced(admin.clone(), "alices")
        .create(&PostParams::default(), &serde_json::from_value(event)?)
        .await?;
    let binding = json!({
        "metadata": { "name": "vdi-users" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "vdi-user" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "vdi-users" }],
    });
    create(&Api::namespaced(admin.clone(), "alices"), &serde_json::from_value::<RoleBinding>(binding)?).await?;
    let (core, ours) = ("/api/v1/namespaces", "/apis/vdi.kasm.io/v1alpha1");
    for kind in kinds.keys() {
        let path = match kind.as_str() {
            "VDISession" => format!("{ours}/namespaces/alices/vdisessions/desktop"),
            "VDITemplate" => format!("{ours}/vditemplates/alices"),
            "Pod" => format!("{core}/alices/pods/vdi-desktop"),
            "PersistentVolumeClaim" => format!("{core}/alices/persistentvolumeclaims/{claim}"),
            "NetworkPolicy" => "/apis/networking.k8s.io/v1/namespaces/alices/networkpolicies/vdi-desktops".to_owned(),
            "Node" => "/api/v1/nodes/simulated-0".to_owned(),
            "PriorityClass" => "/apis/scheduling.k8s.io/v1/priorityclasses/spoilt".to_owned(),
            "Event" => format!("{core}/alices/events/spoilt"),
            "Secret" => format!("{core}/vdiwarden-system/secrets/vdi-gateway-keys"),
            "Lease" => format!("/apis/coordination.k8s.io/v1/namespaces/vdiwarden-system-codes/leases/{used_code}"),
            new => bail!("{new} is a new kind: say which object this test corrupts"),
        };
        if kind == "VDISession" {
            // Alice corrupts her own session. The floor refuses that, so it is removed first.
            let alice = fixture.stack.cluster.client(&alice()).await?;
            let refused = format!("{:#}", corrupt(&alice, &path).await.err().context("the floor accepted it")?);
            ensure!(
                refused.contains("metadata.managedFields has a timestamp outside the years 2000 to 2999"),
                "{refused}"
            );
            let floor = Api::<ValidatingAdmissionPolicyBinding>::all(admin.clone());
            floor.delete("vdi-sessions", &DeleteParams::default()).await?;
            until_ok(async || corrupt(&alice, &path).await).await?;
        } else {
            corrupt(&admin, &path).await.with_context(|| format!("corrupting a {kind}"))?;
        }
    }
    drop(gateway);
    let lease = "/apis/coordination.k8s.io/v1/namespaces/vdiwarden-system/leases/vdi-controller";
    corrupt(&admin, lease).await.context("corrupting the lease")?;
    fixture.stack.stop_controller()?;
    // Its holder never comes back.
    let held = json!({ "holderIdentity": "somebody", "renewTime": "9999-12-31T23:59:59.000000Z" });
    patch(&admin, lease, &json!({ "spec": held })).await?;
    start_controller(&mut fixture.stack).await?;
    let mut gateway = fixture.gateway("gateway-after", fixture.public_port, &[]).await?;
    start_and_open(&fixture, "bobs", &gateway).await?;
    Visitor::at_desktop(&[&gateway], &fixture.stack, &alice(), "alices", "desktop")
        .await
        .context("alice is locked out")?;
    for page in [controller_metrics(&mut fixture.stack).await?, gateway.replica.metrics().await?] {
        let aside = set_aside(&page);
        ensure!(
            aside.values().all(|count| *count == 0),
            "an object was set aside for a field that nobody reads: {aside:?}"
        );
    }
    Ok(())
}

/// Makes the API server accept values of a newer version, by removing the schema of spec and status from the CRD.
async fn loosen(admin: &Client, plural: &str) -> Result<()> {
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.vdi.kasm.io");
    let mut crd = get(admin, &path).await?;
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({ "type": "object", "properties": { "spec": anything.clone(), "status": anything } });
    let request = http_request("PUT", &path).header("content-type", "application/json");
    admin.request::<Value>(request.body(crd.to_string().into())?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_a_newer_version_sets_only_its_own_object_aside() -> Result<()> {
    let mut fixture = fixture("unreadable-words").await?;
    let admin = fixture.stack.cluster.admin();
    let namespace = fixture.running("alices").await?;
    let mut gateway = fixture.gateway("gateway-before", fixture.public_port, &[]).await?;
    let (mut visitor, host) = Visitor::at_desktop(&[&gateway], &fixture.stack, &alice(), "alices", "desktop").await?;
    let pod = namespace.pods.get("vdi-desktop").await?;
    for plural in ["vdisessions", "vditemplates"] {
        loosen(&admin, plural).await?;
    }
    let session = "/apis/vdi.kasm.io/v1alpha1/namespaces/alices/vdisessions/desktop";
    let status = format!("{session}/status");
    let template = "/apis/vdi.kasm.io/v1alpha1/vditemplates/alices";
    until_ok(async || patch(&admin, &status, &json!({ "status": { "phase": "Levitating" } })).await).await?;
    until_ok(async || patch(&admin, template, &json!({ "spec": { "imagePullPolicy": "Sometimes" } })).await).await?;

    visitor.until(&gateway, &host, |answer| answer.status != 200).await?;
    until("a condition with the reason", async || {
        let conditions = get(&admin, session).await?["status"]["conditions"].to_string();
        Ok(conditions.contains("unknown variant `Levitating`"))
    })
    .await?;
    for _ in 0..2 {
        let controllers = set_aside(&controller_metrics(&mut fixture.stack).await?);
        ensure!(controllers["VDISession"] == 1 && controllers["VDITemplate"] == 1, "{controllers:?}");
        let gateways = set_aside(&gateway.replica.metrics().await?);
        ensure!(gateways["VDISession"] == 1, "{gateways:?}");
        drop(gateway);
        restart_controller(&mut fixture.stack).await?;
        gateway = fixture.gateway("gateway-after", fixture.public_port, &[]).await?;
    }
    start_and_open(&fixture, "bobs", &gateway).await?;
    ensure!(namespace.pods.get("vdi-desktop").await?.metadata.uid == pod.metadata.uid, "its desktop was replaced");

    patch(&admin, &status, &json!({ "status": { "phase": "Running" } })).await?;
    patch(&admin, template, &json!({ "spec": { "imagePullPolicy": null } })).await?;
    let is_running = |session: &VDISession| {
        session.status.as_ref().is_some_and(|status| {
            status.phase == Phase::Running && status.ready().is_some_and(|ready| ready.reason == "Running")
        })
    };
    wait_for(&namespace.sessions, "desktop", "running again", is_running).await?;
    visitor.until_at_desktop(&gateway, &host).await?;
    Ok(())
}

/// Retries a step: the API server applies a changed schema or policy with a short delay.
async fn until_ok<T>(mut step: impl AsyncFnMut() -> Result<T>) -> Result<()> {
    let began = Instant::now();
    while let Err(error) = step().await {
        ensure!(began.elapsed() < PATIENCE, error);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
