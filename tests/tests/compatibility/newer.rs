//! Today's programs beside objects of a newer version, as after a rollback, or while an upgrade is under way: with fields, values,
//! conditions and annotations that they don't know.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use vdi_api::{Phase, VDISession, VDITemplate, desktop_pod};
use vdi_cluster::User;
use vdi_tests::{
    audit,
    fixture::Fixture,
    http, installation,
    objects::wait_gone,
    shared::directory,
    stack::{Settings, Stack, alice, bob, carol, controller},
    test_namespace::TestNamespace,
    visitor::Visitor,
    wait,
};

use crate::{crds::narrowings, releases::todays_crds};

/// Today's CRDs with what a newer version might add.
fn newer_crds() -> Result<Vec<Value>> {
    let mut crds = todays_crds()?;
    for crd in &mut crds {
        let is_session = crd["spec"]["names"]["kind"] == "VDISession";
        let properties = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        let text = json!({ "type": "string" });
        let group = json!({ "type": "object", "properties": { "text": text } });
        let (fields, values): (&[_], &[_]) = match is_session {
            true => (
                &["/spec", "/spec/properties/resources", "/status"],
                &[("/status/properties/phase", "Hibernating"), ("/status/properties/expiry", "Quota")],
            ),
            false => (
                &["/spec", "/spec/properties/home", "/status"],
                &[
                    ("/spec/properties/protocol", "h2c"),
                    ("/spec/properties/securityProfile", "isolated"),
                    ("/spec/properties/probe/properties/kind", "grpc"),
                ],
            ),
        };
        for path in fields {
            let schema = properties.pointer_mut(path).with_context(|| format!("{path} is gone"))?;
            schema["properties"][NEW] = group.clone();
        }
        for (path, value) in values {
            let schema = properties.pointer_mut(path).with_context(|| format!("{path} is gone"))?;
            schema["enum"].as_array_mut().context("no enum")?.push(json!(value));
        }
    }
    let found = narrowings(&todays_crds()?, &crds);
    ensure!(found.is_empty(), "a newer version couldn't be like this: {found:#?}");
    Ok(crds)
}

/// The field that this version doesn't know, and its value.
const NEW: &str = "watermark";

fn new() -> Value {
    json!({ "text": "confidential" })
}

fn templates(stack: &Stack) -> Api<DynamicObject> {
    Api::all_with(stack.cluster.admin(), &ApiResource::erase::<VDITemplate>(&()))
}

fn sessions(stack: &Stack) -> Api<DynamicObject> {
    Api::namespaced_with(stack.cluster.admin(), NAMESPACE, &ApiResource::erase::<VDISession>(&()))
}

const NAMESPACE: &str = "newer";

async fn create_template(fixture: &Fixture, name: &str, changes: &Value, params: &PostParams) -> Result<DynamicObject> {
    let home = json!({ "mountPath": "/home/user", "scope": "Session", NEW: new() });
    let mut spec =
        json!({ "image": "registry.example.com/desktop:1", "port": fixture.desktop_port, "home": home, NEW: new() });
    for (field, value) in changes.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let template = DynamicObject::new(name, &ApiResource::erase::<VDITemplate>(&())).data(json!({ "spec": spec }));
    Ok(templates(&fixture.stack).create(params, &template).await?)
}

async fn create_session(stack: &Stack, name: &str, template: &str, user: &User) -> Result<()> {
    let resources = json!({ "gpu": 1, "memory": "4Gi", NEW: new() });
    // So short that the gateway offers more time.
    let spec = json!({ "user": user.name, "template": template, "timeout": "14m", "resources": resources, NEW: new() });
    let session = DynamicObject::new(name, &ApiResource::erase::<VDISession>(&())).data(json!({ "spec": spec }));
    sessions(stack).create(&PostParams::default(), &session).await?;
    Ok(())
}

async fn apply(stack: &Stack, crds: &[Value]) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), installation::manifest(crds))?;
    stack.kubectl_ok(&User::admin(), ["apply", "-f", &file.path().display().to_string()]).await.map(drop)
}

async fn use_newer_crds(fixture: &Fixture) -> Result<()> {
    apply(&fixture.stack, &newer_crds()?).await?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    wait::until("the API server uses the newer CRDs", async || {
        let template = create_template(fixture, "tried", &json!({}), &dry_run).await?;
        let mut session = DynamicObject::new("tried", &ApiResource::erase::<VDISession>(&()));
        session.data = json!({ "spec": { "user": alice().name, "template": "tried", NEW: new() } });
        let session = sessions(&fixture.stack).create(&dry_run, &session).await?;
        Ok(template.data["spec"][NEW] == new() && session.data["spec"][NEW] == new())
    })
    .await
}

/// What a newer controller writes into a session's status.
async fn write_status(stack: &Stack, name: &str, mut status: Value) -> Result<()> {
    let mut conditions = sessions(stack).get(name).await?.data["status"]["conditions"].clone();
    let condition = json!({
        "type": "Watermarked", "status": "True", "reason": "Shown", "message": "", "lastTransitionTime": "2026-01-01T12:00:00Z",
    });
    conditions.as_array_mut().context("no conditions")?.push(condition);
    status["conditions"] = conditions;
    status[NEW] = new();
    let patch = Patch::Merge(json!({ "status": status }));
    sessions(stack).patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until the sessions with unknown values, of their own or in their templates, say which.
async fn wait_until_said(namespace: &TestNamespace, stack: &Stack) -> Result<()> {
    for (name, value) in [("protocol", "h2c"), ("profile", "isolated"), ("probe", "grpc")] {
        let message = namespace.wait_message(name, Phase::Pending, "TemplateInvalid").await?;
        ensure!(message.contains(&format!("unknown variant `{value}`")), "{message}");
    }
    wait::until("the session of an unknown phase says so", async || {
        let said = sessions(stack).get("hibernating").await?.data["status"]["conditions"].to_string();
        Ok(said.contains("SessionInvalid") && said.contains("unknown variant `Hibernating`"))
    })
    .await
}

/// Compares pods with what they were: not replaced, and with all that is written on them.
async fn ensure_unchanged(namespace: &TestNamespace, pods: &[ObjectMeta]) -> Result<()> {
    for before in pods {
        let after = namespace.pods.get(before.name.as_deref().context("no name")?).await?.metadata;
        let what = |meta: &ObjectMeta| (meta.uid.clone(), meta.annotations.clone(), meta.labels.clone());
        ensure!(what(before) == what(&after), "was {before:#?}, and is {after:#?}");
    }
    Ok(())
}

async fn restart_controller(stack: &mut Stack) -> Result<()> {
    stack.stop_controller()?;
    stack.start_controller().await?;
    let address = stack.controller_address().await?;
    let leads = async || Ok(http::get(address, "/metrics").await?.1.contains("\nvdi_controller_leader 1\n"));
    wait::until("the controller leads", leads).await
}

/// Waits until the controller has asked for nothing for longer than any of its pauses. One that writes in a loop never gets there.
async fn wait_until_quiet(stack: &Stack) -> Result<()> {
    let mut last = Vec::new();
    for _ in 0..6 {
        let start = audit::end(&stack.cluster)?;
        tokio::time::sleep(Duration::from_secs(12)).await;
        last = audit::since(&stack.cluster, start)?;
        last.retain(|request| request.user == controller().name && !request.is_of_the_idle());
        if last.is_empty() {
            return Ok(());
        }
    }
    anyhow::bail!("the controller never stops asking: {last:#?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_a_newer_version_run_as_far_as_they_are_known_and_keep_what_is_not() -> Result<()> {
    let folder = directory().with_file_name("compatibility-newer");
    // An older policy refuses some of these values, and a newer one was there first.
    let settings = Settings { webhook: false, ..Settings::default() };
    let mut fixture = Fixture::with_settings(&folder, &[], settings).await?;
    let namespace = TestNamespace::new(&fixture.stack, NAMESPACE).await?;
    use_newer_crds(&fixture).await?;
    let default = PostParams::default();
    create_template(&fixture, "known", &json!({}), &default).await?;
    for (name, changes) in [
        ("protocol", json!({ "protocol": "h2c" })),
        ("profile", json!({ "securityProfile": "isolated" })),
        ("probe", json!({ "probe": { "kind": "grpc" } })),
    ] {
        create_template(&fixture, name, &changes, &default).await?;
        create_session(&fixture.stack, name, name, &alice()).await?;
    }
    let owners = [("desktop", alice()), ("spoken-to", bob()), ("hibernating", carol())];
    let gateway = fixture.gateway("gateway-before", fixture.public_port, &[]).await?;
    let mut visitors = Vec::new();
    for (name, owner) in &owners {
        create_session(&fixture.stack, name, "known", owner).await?;
        namespace.wait_running(name).await?;
        visitors.push(Visitor::at_desktop(&[&gateway], &fixture.stack, owner, NAMESPACE, name).await?);
    }
    // What a newer controller makes of three of them.
    write_status(&fixture.stack, "desktop", json!({ "expiry": "Quota", "expiresAt": "2030-01-01T00:00:00Z" })).await?;
    write_status(&fixture.stack, "hibernating", json!({ "phase": "Hibernating" })).await?;
    for (name, annotations) in [
        ("desktop", json!({ "vdi.kasm.io/watermark": "confidential" })),
        ("spoken-to", json!({ desktop_pod::PROTOCOL: "h2c", desktop_pod::ACTIVITY: "touch" })),
    ] {
        let labels = json!({ "vdi.kasm.io/tier": "gold" });
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations, "labels": labels } }));
        namespace.pods.patch(&desktop_pod::pod_name(name), &PatchParams::default(), &patch).await?;
    }
    let mut pods: Vec<ObjectMeta> = Vec::new();
    for (name, _) in &owners {
        pods.push(namespace.pods.get(&desktop_pod::pod_name(name)).await?.metadata);
    }

    for round in ["before", "after"] {
        let stack = &fixture.stack;
        wait_until_said(&namespace, stack).await.context(round)?;
        // The deadline that this version knows, in place of the one that it doesn't.
        wait::until("the session with an unknown deadline has a known one", async || {
            let status = sessions(stack).get("desktop").await?.data["status"].clone();
            Ok(status["expiry"] == "Timeout" && status["expiresAt"] != "2030-01-01T00:00:00Z")
        })
        .await?;
        create_session(stack, round, "known", &alice()).await?;
        namespace.wait_running(round).await?;
        wait_until_quiet(stack).await?;

        for (name, _) in &owners {
            let session = sessions(stack).get(name).await?.data;
            let kept = [&session["spec"][NEW], &session["spec"]["resources"][NEW]];
            ensure!(kept.iter().all(|kept| **kept == new()), "{round}: {session:#}");
            let written = name != &"spoken-to";
            ensure!((session["status"][NEW] == new()) == written, "{round}: {session:#}");
            ensure!(
                session["status"]["conditions"].to_string().contains("Watermarked") == written,
                "{round}: {session:#}"
            );
        }
        for name in ["known", "protocol", "profile", "probe"] {
            let spec = templates(stack).get(name).await?.data["spec"].clone();
            ensure!(spec[NEW] == new() && spec["home"][NEW] == new(), "{round}: {spec:#}");
        }
        ensure_unchanged(&namespace, &pods).await.context(round)?;
        if round == "before" {
            restart_controller(&mut fixture.stack).await?;
        }
    }

    // A gateway that knew them before, and one that reads them for the first time.
    let mut gateway = Some(gateway);
    for round in ["before", "after"] {
        if round == "after" {
            drop(gateway.take());
            gateway = Some(fixture.gateway("gateway-after", fixture.public_port, &[]).await?);
        }
        let gateway = gateway.as_ref().context("no gateway")?;
        let (visitor, host) = &mut visitors[0];
        visitor.until_at_desktop(gateway, host).await?;
        for (number, expected) in [
            (1, "doesn't know its protocol, h2c: upgrade the gateway"),
            (2, "a value that this version of the gateway doesn't know"),
        ] {
            let (visitor, host) = &mut visitors[number];
            let refused = visitor.until(gateway, host, |answer| unescaped(&answer.body).contains(expected)).await;
            let answer = refused.with_context(|| format!("{round}: {expected}"))?;
            ensure!(!answer.body.contains("a desktop was asked"), "{round}: {answer:?}");
        }
    }
    let (visitor, host) = &mut visitors[0];
    let answer = visitor.post(gateway.as_ref().context("no gateway")?, host, "/.vdi/extend", "").await?;
    ensure!(answer.status == 200, "{answer:?}");
    let spec = sessions(&fixture.stack).get("desktop").await?.data["spec"].clone();
    ensure!(spec["timeout"] == "1h14m" && spec[NEW] == new() && spec["resources"][NEW] == new(), "{spec:#}");

    // As after a rollback: the API server drops fields of the newer CRDs and keeps values.
    apply(&fixture.stack, &todays_crds()?).await?;
    wait::until("the API server uses today's CRDs", async || {
        Ok(sessions(&fixture.stack).get("desktop").await?.data["spec"][NEW].is_null())
    })
    .await?;
    restart_controller(&mut fixture.stack).await?;
    create_session(&fixture.stack, "rolled-back", "known", &alice()).await?;
    namespace.wait_running("rolled-back").await?;
    wait_until_said(&namespace, &fixture.stack).await?;
    wait_until_quiet(&fixture.stack).await?;
    ensure_unchanged(&namespace, &pods).await?;
    visitor.until_at_desktop(gateway.as_ref().context("no gateway")?, host).await?;
    namespace.change("spoken-to", json!({ "suspend": true })).await?;
    namespace.wait("spoken-to", Phase::Pending, "Suspended").await?;
    sessions(&fixture.stack).delete("hibernating", &DeleteParams::default()).await?;
    wait_gone(&namespace.pods, &desktop_pod::pod_name("hibernating")).await
}

/// The text of a page: what it escapes of the characters in these sentences.
fn unescaped(body: &str) -> String {
    body.replace("&#39;", "'").replace("&#x27;", "'")
}
