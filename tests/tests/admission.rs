//! The compiled policy between users and a real API server, used through kubectl as users do.

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
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(said)?))
}

#[test]
fn everything_that_is_wrong_with_a_session_is_shown_to_the_person_who_applies_it() -> Result<()> {
    with_stack(async |stack| {
        let resources = json!({ "gpu": 0, "memory": "lots" });
        let spec = json!({ "user": "alice", "template": "No Such", "resources": resources, "timeout": "8 hours" });
        let (taken, said) = apply(stack, &alice(), &session("wrong", spec)).await?;
        ensure!(!taken);
        for line in [
            "spec.user: found \"alice\"; allowed an e-mail address such as alice@example.com",
            "spec.template: found \"No Such\"; allowed",
            "spec.resources.gpu: found 0; allowed a whole number of GPUs, at least 1",
            "spec.resources.memory: found \"lots\"; allowed a Kubernetes quantity such as 4Gi",
            "spec.timeout: found \"8 hours\"; allowed a duration greater than zero, such as 8h, 90m or 1h30m",
        ] {
            ensure!(said.contains(line), "{line:?} is missing in:\n{said}");
        }
        Ok(())
    })
}

#[test]
fn a_user_may_have_sessions_and_neither_write_their_status_nor_templates_nor_see_pods() -> Result<()> {
    with_stack(async |stack| {
        let spec = json!({ "user": "alice@example.com", "template": "none" });
        let (taken, said) = apply(stack, &alice(), &session("rights", spec)).await?;
        ensure!(taken, "{said}");
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
        ensure!(!elsewhere.status.success(), "the rights end with the namespace");
        Ok(())
    })
}

/// Under the pod security standard that the template says it keeps to: a pod that doesn't is refused there.
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
            let said = String::from_utf8([applied.stdout, applied.stderr].concat())?;
            ensure!(applied.status.success(), "{said}");
            ensure!(said.contains("(image-digest)"), "it is pinned by a tag, which is worth a warning: {said}");
            ensure!(!said.contains("unknown field"), "{said}");

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
    let (taken, said) = apply(&stack, &alice(), &session("before", spec.clone())).await?;
    ensure!(taken, "{said}");
    stack.stop_webhook();
    for (user, name) in [(alice(), "during"), (User::admin(), "during"), (alice(), "before")] {
        let mut changed = session(name, spec.clone());
        changed["spec"]["timeout"] = json!("9h");
        let (taken, said) = apply(&stack, &user, &changed).await?;
        ensure!(!taken && said.contains("failed calling webhook"), "{name} as {}: {said}", user.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrators_settings_hold_at_the_api_server() -> Result<()> {
    let policy = json!({ "gpu": { "max": 2 }, "memory": { "default": "8Gi" }, "timeout": { "max": "12h" }, "rules": { "timeout-range": "warn" } });
    let directory = vdi_tests::target().join("clusters/admission-settings");
    let stack = Stack::start(&directory, Settings { policy, ..Settings::default() }).await?;
    let spec = |gpu: u32| json!({ "user": "alice@example.com", "template": "none", "resources": { "gpu": gpu }, "timeout": "24h" });
    let (taken, said) = apply(&stack, &alice(), &session("many", spec(3))).await?;
    ensure!(!taken && said.contains("spec.resources.gpu: found 3; allowed at most 2 (gpu-range)"), "{said}");
    let (taken, said) = apply(&stack, &alice(), &session("long", spec(2))).await?;
    ensure!(
        taken && said.contains("Warning: spec.timeout: found \"24h\"; allowed at most 12h (timeout-range)"),
        "{said}"
    );

    // A default of the site's counts once the CRD has none. The API server takes up a changed CRD in its own time.
    let bare = session("bare", json!({ "user": "alice@example.com", "template": "none" }));
    let patch = workspace().join("deploy/kubewarden/site-defaults.yaml").display().to_string();
    let crd = ["patch", "crd", "vdisessions.vdi.kasm.io", "--type=json", "--patch-file", &patch];
    stack.kubectl_ok(&User::admin(), crd).await?;
    let resources = ["get", "vdi", "bare", "-n", DESKTOPS, "-o", "jsonpath={.spec.resources}{.spec.timeout}"];
    let expected = r#"{"gpu":1,"memory":"8Gi"}8h"#;
    let mut stored = String::new();
    for _ in 0..100 {
        let (taken, said) = apply(&stack, &alice(), &bare).await?;
        ensure!(taken, "{said}");
        stored = stack.kubectl_ok(&alice(), resources).await?;
        if stored == expected {
            break;
        }
        stack.kubectl_ok(&alice(), ["delete", "vdi", "bare", "-n", DESKTOPS]).await?;
    }
    ensure!(stored == expected, "{stored}");
    Ok(())
}
