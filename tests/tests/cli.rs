//! `kubectl vdi`, run by the real kubectl as its plugin, on a real API server with the policy and the floor.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use vdi_api::Phase;
use vdi_cluster::{Program, User};
use vdi_tests::{
    process,
    shared::with_stack,
    stack::{self, Stack, alice, bob},
    test_namespace::TestNamespace,
    wait,
};

/// A namespace where alice and bob may have desktops, with a template of its name.
async fn namespace(stack: &Stack, name: &str) -> Result<TestNamespace> {
    process::blocking(stack::build).await?;
    let namespace = TestNamespace::new(stack, name).await?;
    namespace.template(json!({"displayName": "A desktop", "description": "For tests"})).await?;
    let role = ["create", "rolebinding", "users", "--clusterrole=vdi-user", "--group=vdi-users", "-n", name];
    stack.kubectl_ok(&User::admin(), role).await?;
    Ok(namespace)
}

/// What `kubectl vdi` prints in a namespace, and whether it succeeds.
struct Ran {
    ok: bool,
    stdout: String,
    stderr: String,
}

async fn vdi(stack: &Stack, user: &User, namespace: &TestNamespace, arguments: &str) -> Result<Ran> {
    let program = stack::program("kubectl-vdi");
    let folder = program.parent().context("no folder")?.display();
    let path = format!("{folder}:{}", std::env::var("PATH")?);
    let mut kubectl = Command::new(Program::Kubectl.ensure().await?);
    kubectl.arg("vdi").args(arguments.split_whitespace()).args(["-n", &namespace.name]).stdin(Stdio::null());
    let output = kubectl.env("KUBECONFIG", stack.cluster.kubeconfig(user)?).env("PATH", path).output().await?;
    let text = String::from_utf8;
    Ok(Ran { ok: output.status.success(), stdout: text(output.stdout)?, stderr: text(output.stderr)? })
}

async fn vdi_ok(stack: &Stack, user: &User, namespace: &TestNamespace, arguments: &str) -> Result<String> {
    let ran = vdi(stack, user, namespace, arguments).await?;
    ensure!(ran.ok, "kubectl vdi {arguments}: {}{}", ran.stdout, ran.stderr);
    Ok(ran.stdout)
}

/// What it says when it fails.
async fn vdi_fails(stack: &Stack, user: &User, namespace: &TestNamespace, arguments: &str) -> Result<String> {
    let ran = vdi(stack, user, namespace, arguments).await?;
    ensure!(!ran.ok, "kubectl vdi {arguments} succeeded: {}", ran.stdout);
    Ok(ran.stderr)
}

#[test]
fn a_desktop_is_started_suspended_resumed_extended_and_ended_without_yaml() -> Result<()> {
    with_stack(async |stack| {
        let namespace = namespace(stack, "cli-life").await?;
        let run = async |arguments: &str| vdi_ok(stack, &alice(), &namespace, arguments).await;
        let templates = run("templates").await?;
        ensure!(
            templates.lines().any(|line| line.starts_with("cli-life") && line.contains("For tests")),
            "{templates}"
        );

        let started = run("start cli-life --memory 2Gi --timeout 2h --name one").await?;
        ensure!(started.starts_with("one is starting in namespace cli-life\n"), "{started}");
        let url = run("start cli-life --name one --wait").await?;
        let session = namespace.sessions.get("one").await?;
        let status = session.status.clone().context("no status")?;
        ensure!(Some(url.trim().to_owned()) == status.url && status.phase == Phase::Running, "{url}: {status:?}");
        ensure!(
            session.spec.user == "alice@example.com" && session.spec.resources.memory == "2Gi",
            "{:?}",
            session.spec
        );
        ensure!(run("open one --print").await? == url);

        let list = run("list").await?;
        let get = stack.kubectl_ok(&alice(), ["get", "vdi", "-n", "cli-life"]).await?;
        let columns = |table: &str| {
            table.lines().next().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        ensure!(columns(&list) == columns(&get), "{list}{get}");
        let why = run("why one").await?;
        ensure!(why.starts_with("one is running since ") && why.contains("Open it: kubectl vdi open one"), "{why}");

        run("extend one 90m").await?;
        ensure!(namespace.sessions.get("one").await?.spec.timeout == "3h30m");
        let suspended = run("suspend one").await?;
        ensure!(
            suspended.contains("its files are kept") && suspended.contains("kubectl vdi resume one"),
            "{suspended}"
        );
        namespace.wait("one", Phase::Pending, "Suspended").await?;
        ensure!(run("suspend one").await? == "one is suspended already\n");
        let refused = vdi_fails(stack, &alice(), &namespace, "open one").await?;
        ensure!(refused.contains("Your desktop is suspended.") && refused.contains("Resume it"), "{refused}");
        run("resume one").await?;
        namespace.wait_running("one").await?;

        let asked = vdi_fails(stack, &alice(), &namespace, "stop one").await?;
        ensure!(asked.contains("kubectl vdi suspend one") && asked.contains("--yes"), "{asked}");
        run("stop one --yes").await?;
        let gone = vdi_fails(stack, &alice(), &namespace, "why one").await?;
        ensure!(
            gone.contains("there is no desktop \"one\" in namespace cli-life") || gone.contains("ending"),
            "{gone}"
        );
        Ok(())
    })
}

#[test]
fn starting_the_same_desktop_again_makes_no_second_one_and_disturbs_nobody_elses() -> Result<()> {
    with_stack(async |stack| {
        let namespace = namespace(stack, "cli-again").await?;
        for _ in 0..3 {
            vdi_ok(stack, &alice(), &namespace, "start cli-again").await?;
        }
        let count = stack.kubectl_ok(&User::admin(), ["get", "vdi", "-n", "cli-again", "-o", "name"]).await?;
        ensure!(count == "vdisession.vdi.kasm.io/cli-again\n", "{count}");
        let taken = vdi_fails(stack, &bob(), &namespace, "start cli-again").await?;
        ensure!(taken.contains("is alice@example.com's") && taken.contains("--name"), "{taken}");
        for command in ["suspend cli-again", "stop cli-again --yes", "extend cli-again 1h"] {
            let refused = vdi_fails(stack, &bob(), &namespace, command).await?;
            ensure!(refused.contains("spec.user"), "{command}: {refused}");
        }
        Ok(())
    })
}

#[test]
fn a_refusal_is_told_in_the_words_of_whoever_refuses() -> Result<()> {
    with_stack(async |stack| {
        let namespace = namespace(stack, "cli-refused").await?;
        let fails = async |user: User, arguments: &str| vdi_fails(stack, &user, &namespace, arguments).await;
        let other = fails(alice(), "start cli-refused --user bob@example.com").await?;
        ensure!(other.starts_with("error: ") && other.contains("spec.user") && !other.contains("webhook"), "{other}");
        let gpus = fails(alice(), "start cli-refused --gpu 0").await?;
        ensure!(gpus.contains("0 is not in 1.."), "{gpus}");
        let memory = fails(alice(), "start cli-refused --memory lots").await?;
        ensure!(memory.contains("a Kubernetes quantity such as 4Gi"), "{memory}");
        let nobody = fails(vdi_tests::stack::robot(), "start cli-refused").await?;
        ensure!(nobody.contains("which is no e-mail address") && nobody.contains("--user"), "{nobody}");
        let elsewhere = TestNamespace::existing(stack, "default");
        let nowhere = vdi_fails(stack, &alice(), &elsewhere, "start cli-refused").await?;
        ensure!(nowhere.contains("you may not do that in namespace default: ask your administrator"), "{nowhere}");
        let template = fails(alice(), "start no-such-template").await?;
        ensure!(
            template.contains("there is no template \"no-such-template\"") && template.contains("cli-refused"),
            "{template}"
        );
        let missing = fails(alice(), "why nothing").await?;
        ensure!(missing.contains("there are none in this namespace"), "{missing}");
        Ok(())
    })
}

#[test]
fn what_a_session_waits_for_is_told_as_a_person_would() -> Result<()> {
    with_stack(async |stack| {
        let namespace = namespace(stack, "cli-why").await?;
        vdi_ok(stack, &alice(), &namespace, "start cli-why --gpu 100 --name greedy").await?;
        namespace.wait("greedy", Phase::Pending, "Unschedulable").await?;
        let why = vdi_ok(stack, &alice(), &namespace, "why greedy").await?;
        ensure!(why.starts_with("greedy is pending since "), "{why}");
        ensure!(why.contains("No machine has enough free for your desktop at the moment."), "{why}");
        let details = why.lines().position(|line| line.starts_with("Details: Unschedulable: "));
        ensure!(details.is_some_and(|line| line > 1), "{why}");
        // An administrator sees the events, too.
        let why = vdi_ok(stack, &User::admin(), &namespace, "why greedy").await?;
        ensure!(why.lines().any(|line| line.starts_with("WHEN")), "{why}");
        Ok(())
    })
}

#[test]
fn the_list_of_templates_says_what_is_free_to_people_who_see_no_nodes() -> Result<()> {
    with_stack(async |stack| {
        let namespace = namespace(stack, "cli-free").await?;
        // GPUs of its own, which only an administrator sees.
        let gpus = json!({"example.com/cli-free": "2"});
        let gpus = json!({"status": {"capacity": gpus, "allocatable": gpus}}).to_string();
        let offer = ["patch", "node", "simulated-0", "--subresource=status", "--type=merge", "-p", &gpus];
        stack.kubectl_ok(&User::admin(), offer).await?;
        let resource = json!({"spec": {"gpu": {"resourceName": "example.com/cli-free"}}}).to_string();
        stack.kubectl_ok(&User::admin(), ["patch", "vdit", "cli-free", "--type=merge", "-p", &resource]).await?;
        let told = async |words: &str| {
            let row = |table: &str| table.lines().any(|row| row.starts_with("cli-free ") && row.contains(words));
            let says = async || Ok(row(&vdi_ok(stack, &alice(), &namespace, "templates").await?));
            wait::until(&format!("templates says: {words}"), says).await
        };
        told("  2 of 2 free  ").await?;
        vdi_ok(stack, &alice(), &namespace, "start cli-free --gpu 2 --name one").await?;
        namespace.wait_running("one").await?;
        told("  0 of 2 free, next free by ").await?;
        vdi_ok(stack, &bob(), &namespace, "start cli-free --gpu 2 --name two").await?;
        told(", 1 waits  ").await?;
        let claims = json!({"spec": {"gpu": {"resourceName": null, "resourceClaimTemplateName": "gpus"}}}).to_string();
        stack.kubectl_ok(&User::admin(), ["patch", "vdit", "cli-free", "--type=merge", "-p", &claims]).await?;
        told("  unknown  ").await
    })
}

#[test]
fn objects_are_printed_for_scripts_and_nothing_in_them_commands_a_terminal() -> Result<()> {
    with_stack(async |stack| {
        let namespace = namespace(stack, "cli-output").await?;
        let json = vdi_ok(stack, &alice(), &namespace, "start cli-output -o json").await?;
        ensure!(serde_json::from_str::<Value>(&json)?["metadata"]["name"] == "cli-output", "{json}");
        ensure!(vdi_ok(stack, &alice(), &namespace, "list -o name").await? == "vdisession.vdi.kasm.io/cli-output\n");
        let yaml = vdi_ok(stack, &alice(), &namespace, "list -o yaml").await?;
        let parsed: Value = serde_saphyr::from_str(&yaml)?;
        ensure!(parsed["items"][0]["spec"]["user"] == "alice@example.com", "{yaml}");
        let wide = vdi_ok(stack, &alice(), &namespace, "list -o wide").await?;
        ensure!(wide.lines().next().is_some_and(|line| line.ends_with("REASON")), "{wide}");
        let description = "\u{1b}[2Jgone\u{202e}";
        let patch = json!({"spec": {"description": description}}).to_string();
        stack.kubectl_ok(&User::admin(), ["patch", "vdit", "cli-output", "--type=merge", "-p", &patch]).await?;
        let templates = vdi_ok(stack, &alice(), &namespace, "templates").await?;
        ensure!(!templates.contains(['\u{1b}', '\u{202e}']) && templates.contains("[2Jgone"), "{templates:?}");
        let top = vdi_ok(stack, &User::admin(), &namespace, "top").await?;
        ensure!(top.lines().any(|line| line.starts_with("alice@example.com")), "{top}");
        let completion = vdi_ok(stack, &alice(), &namespace, "completion bash").await?;
        ensure!(completion.contains("kubectl-vdi"), "{completion}");
        Ok(())
    })
}
