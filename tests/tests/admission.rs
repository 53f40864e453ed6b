//! The compiled policy in front of a real API server, used through kubectl as users do.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use vdi_api::{SecurityProfile, VDITemplate};
use vdi_cluster::User;
use vdi_tests::{
    objects,
    shared::with_stack,
    stack::{DESKTOPS, Settings, Stack, alice, bob},
    test_namespace::TestNamespace,
    workspace,
};

fn session(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "vdi.kasm.io/v1alpha1",
        "kind": "VDISession",
        "metadata": { "name": name, "namespace": DESKTOPS },
        "spec": spec,
    })
}

/// `kubectl apply` of one object. Returns whether it succeeded, and its output.
async fn apply(stack: &Stack, user: &User, object: &Value) -> Result<(bool, String)> {
    let mut kubectl = stack.cluster.kubectl(user, ["apply", "-f", "-"])?;
    let mut kubectl = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = kubectl.stdin.take().context("no standard input")?;
    stdin.write_all(object.to_string().as_bytes()).await?;
    drop(stdin);
    let output = kubectl.wait_with_output().await?;
    let message = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(message)?))
}

#[test]
fn kubectl_apply_shows_everything_that_is_wrong_with_a_session() -> Result<()> {
    with_stack(async |stack| {
        let resources = json!({ "gpu": 0, "memory": "lots" });
        let spec = json!({ "user": "alice", "template": "No Such", "resources": resources, "timeout": "8 hours" });
        let (accepted, message) = apply(stack, &alice(), &session("wrong", spec)).await?;
        ensure!(!accepted);
        for line in [
            "spec.user: found \"alice\"; allowed an e-mail address such as alice@example.com",
            "spec.template: found \"No Such\"; allowed",
            "spec.resources.gpu: found 0; allowed a whole number of GPUs, at least 1",
            "spec.resources.memory: found \"lots\"; allowed a Kubernetes quantity such as 4Gi",
            "spec.timeout: found \"8 hours\"; allowed a duration greater than zero, such as 8h, 90m or 1h30m",
        ] {
            ensure!(message.contains(line), "{line:?} is missing in:\n{message}");
        }
        Ok(())
    })
}

#[test]
fn users_can_manage_sessions_but_neither_their_status_nor_templates_nor_pods() -> Result<()> {
    with_stack(async |stack| {
        let spec = json!({ "user": "alice@example.com", "template": "none" });
        let (accepted, message) = apply(stack, &alice(), &session("rights", spec)).await?;
        ensure!(accepted, "{message}");
        for (verb, resource, allowed) in [
            ("delete", "vdisessions", "yes"),
            ("patch", "vdisessions --subresource=status", "no"),
            ("get", "vditemplates", "yes"),
            ("create", "vditemplates", "no"),
            ("get", "pods", "no"),
            ("create", "pods --subresource=exec", "no"),
        ] {
            let question = ["auth", "can-i", verb].into_iter().chain(resource.split(' ')).chain(["-n", DESKTOPS]);
            let answer = stack.kubectl(&bob(), question).await?;
            let answer = String::from_utf8(answer.stdout)?;
            ensure!(answer.trim() == allowed, "{verb} {resource}: {answer}");
        }
        let elsewhere = stack.kubectl(&alice(), ["get", "vdi", "-n", "default"]).await?;
        ensure!(!elsewhere.status.success(), "the user has rights in another namespace");
        Ok(())
    })
}

/// Each sample runs in a namespace that enforces the pod security standard of the template's `securityProfile`.
#[test]
fn every_sample_template_is_accepted_and_its_sessions_run() -> Result<()> {
    with_stack(async |stack| {
        let samples = workspace().join("deploy/samples");
        let templates = samples.join("templates").read_dir()?.map(|entry| Ok(entry?.path()));
        let templates: Vec<_> = templates.chain([Ok(samples.join("ubuntu-desktop.yaml"))]).collect::<Result<_>>()?;
        ensure!(templates.len() >= 4, "{templates:?}");
        for path in &templates {
            let template: VDITemplate = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
            let name = template.metadata.name.as_deref().context("a name")?;
            let standard = match template.spec.security_profile {
                SecurityProfile::Restricted => "restricted",
                SecurityProfile::Baseline => "baseline",
            };
            let applied = stack.kubectl(&User::admin(), ["apply", "-f", &path.display().to_string()]).await?;
            let message = String::from_utf8([applied.stdout, applied.stderr].concat())?;
            ensure!(applied.status.success(), "{message}");
            ensure!(
                message.contains("(image-digest)"),
                "no warning about an image with a tag and no digest: {message}"
            );
            ensure!(!message.contains("unknown field"), "{message}");

            let namespace = TestNamespace::new(stack, &format!("sample-{name}")).await?;
            let enforce = format!("pod-security.kubernetes.io/enforce={standard}");
            stack.kubectl_ok(&User::admin(), ["label", "namespace", &namespace.name, &enforce]).await?;
            objects::create(&namespace.sessions, &objects::session("desktop", name)).await?;
            namespace.wait_running("desktop").await?;
        }
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_policy_is_down_nothing_is_admitted() -> Result<()> {
    let directory = vdi_tests::target().join("clusters/admission-down");
    let mut stack = Stack::start(&directory, Settings::default()).await?;
    let spec = json!({ "user": "alice@example.com", "template": "none" });
    let (accepted, message) = apply(&stack, &alice(), &session("before", spec.clone())).await?;
    ensure!(accepted, "{message}");
    stack.stop_webhook();
    for (user, name) in [(alice(), "during"), (User::admin(), "during"), (alice(), "before")] {
        let mut changed = session(name, spec.clone());
        changed["spec"]["timeout"] = json!("9h");
        let (accepted, message) = apply(&stack, &user, &changed).await?;
        ensure!(!accepted && message.contains("failed calling webhook"), "{name} as {}: {message}", user.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrators_settings_hold_at_the_api_server() -> Result<()> {
    let policy = json!({ "gpu": { "max": 2 }, "memory": { "default": "8Gi" }, "timeout": { "max": "12h" }, "rules": { "timeout-range": "warn" } });
    let directory = vdi_tests::target().join("clusters/admission-settings");
    let stack = Stack::start(&directory, Settings { policy, ..Settings::default() }).await?;
    let spec = |gpu: u32| json!({ "user": "alice@example.com", "template": "none", "resources": { "gpu": gpu }, "timeout": "24h" });
    let (accepted, message) = apply(&stack, &alice(), &session("many", spec(3))).await?;
    ensure!(!accepted && message.contains("spec.resources.gpu: found 3; allowed at most 2 (gpu-range)"), "{message}");
    let (accepted, message) = apply(&stack, &alice(), &session("long", spec(2))).await?;
    ensure!(
        accepted && message.contains("Warning: spec.timeout: found \"24h\"; allowed at most 12h (timeout-range)"),
        "{message}"
    );

    // The policy's defaults apply once the CRD has none. The API server applies a changed CRD with a delay.
    let bare = session("bare", json!({ "user": "alice@example.com", "template": "none" }));
    let patch = workspace().join("deploy/kubewarden/site-defaults.yaml").display().to_string();
    let crd = ["patch", "crd", "vdisessions.vdi.kasm.io", "--type=json", "--patch-file", &patch];
    stack.kubectl_ok(&User::admin(), crd).await?;
    let resources = ["get", "vdi", "bare", "-n", DESKTOPS, "-o", "jsonpath={.spec.resources}{.spec.timeout}"];
    let expected = r#"{"gpu":1,"memory":"8Gi"}8h"#;
    let mut stored = String::new();
    for _ in 0..100 {
        let (accepted, message) = apply(&stack, &alice(), &bare).await?;
        ensure!(accepted, "{message}");
        stored = stack.kubectl_ok(&alice(), resources).await?;
        if stored == expected {
            break;
        }
        stack.kubectl_ok(&alice(), ["delete", "vdi", "bare", "-n", DESKTOPS]).await?;
    }
    ensure!(stored == expected, "{stored}");
    Ok(())
}
