//! Real desktops: a kubelet, containerd, the desktop image and a browser on this machine. Needs Linux and root.

mod isolation;

use std::process::Output;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use vdi_api::{Phase, VDISession, VDITemplate};
use vdi_cluster::{RealNode, RealNodeOptions, User};
use vdi_tests::{
    browser::Browser,
    desktop,
    objects::{create, delete, session, wait_for, wait_gone},
    setup,
    shared::{Shared, directory},
    stack::{Settings, Stack},
    target,
    test_namespace::TestNamespace,
    workspace,
};

/// Runs a test on the real node of this binary. Without one, the test is skipped, or fails in CI.
fn with_desktops(test: impl AsyncFnOnce(&'static Stack) -> Result<()>) -> Result<()> {
    static NODE: Shared<(RealNode, Stack)> = Shared::new();
    match setup::why_no_real_node() {
        None => NODE.with(start, async |(_, stack)| test(stack).await),
        Some(why) if std::env::var_os("CI").is_some() => bail!("{why}, and in CI this test is not to be skipped"),
        Some(why) => {
            eprintln!("skipped: {why}");
            Ok(())
        }
    }
}

async fn start() -> Result<(RealNode, Stack)> {
    let images = vec![setup::desktop_image().await?];
    let stack = Stack::start(&directory(), Settings::default()).await?;
    let node = RealNode::start(&stack.cluster, RealNodeOptions { gpus: 16, images, ..Default::default() }).await?;
    Ok((node, stack))
}

/// A namespace that enforces the restricted standard, and the template of deploy/samples with changes.
async fn namespace(stack: &Stack, name: &str, changes: Value) -> Result<TestNamespace> {
    let namespace = TestNamespace::new(stack, name).await?;
    let label = ["label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"];
    stack.kubectl_ok(&User::admin(), label).await?;
    let sample = std::fs::read_to_string(workspace().join("deploy/samples/ubuntu-desktop.yaml"))?;
    let sample: VDITemplate = serde_saphyr::from_str(&sample)?;
    let mut spec = serde_json::to_value(sample.spec)?;
    // As the node has it, from the archive.
    spec["image"] = json!("vdiwarden.local/desktop:dev");
    json_patch::merge(&mut spec, &changes);
    namespace.template(spec).await?;
    Ok(namespace)
}

/// A session of the namespace's template with little memory, so that several fit on this machine.
fn small(name: &str, namespace: &TestNamespace) -> VDISession {
    let mut small = session(name, &namespace.name);
    small.spec.resources.memory = "512Mi".to_owned();
    small
}

/// Runs a shell command in a session's desktop, as its user might in a terminal. The command may take the desktop down.
async fn exec(stack: &Stack, namespace: &TestNamespace, session: &str, command: &str) -> Result<Output> {
    let pod = format!("vdi-{session}");
    stack.kubectl(&User::admin(), ["exec", "-n", &namespace.name, &pod, "--", "sh", "-c", command]).await
}

/// Runs a shell command that must succeed, and returns its output.
async fn run(stack: &Stack, namespace: &TestNamespace, session: &str, command: &str) -> Result<String> {
    let output = exec(stack, namespace, session, command).await?;
    ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The number of GPUs that the namespace's pods hold. A pod holds them until it has ended.
async fn gpus_held(namespace: &TestNamespace) -> Result<i64> {
    let held = |pod: Pod| -> Option<i64> {
        let phase = pod.status?.phase?;
        let limits = pod.spec?.containers.into_iter().next()?.resources?.limits?;
        (phase != "Failed" && phase != "Succeeded").then(|| limits["nvidia.com/gpu"].0.parse().ok()).flatten()
    };
    Ok(namespace.pods.list(&ListParams::default()).await?.into_iter().filter_map(held).sum())
}

/// Kills the X server of a desktop with SIGSEGV, as a bug in it would.
async fn crash(stack: &Stack, namespace: &TestNamespace, session: &str) -> Result<()> {
    const CRASH: &str = r#"for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = Xvnc ] && kill -SEGV ${p#/proc/}; done"#;
    exec(stack, namespace, session, CRASH).await.map(drop)
}

/// Waits until the container has restarted this often and is ready.
async fn wait_restarted(namespace: &TestNamespace, session: &str, restarts: i32) -> Result<()> {
    let restarted = |pod: &Pod| {
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        statuses.into_iter().any(|container| container.restart_count == restarts && container.ready)
    };
    wait_for(&namespace.pods, &format!("vdi-{session}"), &format!("restarted {restarts} times"), restarted)
        .await
        .map(drop)
}

#[test]
fn a_session_shows_a_desktop_in_a_browser_and_reports_its_renderer() -> Result<()> {
    with_desktops(async |stack| {
        setup::browser().await?;
        let namespace = namespace(stack, "seen", json!({})).await?;
        create(&namespace.sessions, &small("desktop", &namespace)).await?;
        namespace.wait_running("desktop").await?;
        let ip =
            namespace.pods.get("vdi-desktop").await?.status.and_then(|status| status.pod_ip).context("no address")?;
        let browser = Browser::start(&stack.cluster.logs()).await?;
        let (url, picture) = (format!("http://{ip}:6080/"), target().join("desktop.png"));
        browser.witness(desktop::wait_until_drawn(&browser, &url, &picture)).await?;

        let reports_software = |session: &VDISession| {
            let status = session.status.iter().flat_map(|status| &status.conditions);
            status.into_iter().any(|condition| {
                condition.type_ == "Accelerated"
                    && condition.status == "False"
                    && condition.message.contains("llvmpipe")
            })
        };
        wait_for(&namespace.sessions, "desktop", "reported to render in software", reports_software).await?;
        let warning = namespace.wait_event("desktop", "SoftwareRendering").await?;
        ensure!(warning.starts_with("the session has GPUs but renders in software, with llvmpipe"), "{warning}");
        let description = stack.kubectl_ok(&User::admin(), ["describe", "vdi", "-n", "seen"]).await?;
        std::fs::write(target().join("describe.txt"), description)?;
        Ok(())
    })
}

#[test]
fn a_suspended_session_holds_no_gpu_and_still_has_its_files_when_it_resumes() -> Result<()> {
    with_desktops(async |stack| {
        let namespace = namespace(stack, "files", json!({})).await?;
        create(&namespace.sessions, &small("desktop", &namespace)).await?;
        let before = namespace.wait_running("desktop").await?;
        run(stack, &namespace, "desktop", "echo 'a plan' >~/plan").await?;
        ensure!(gpus_held(&namespace).await? == 1);

        namespace.change("desktop", json!({ "suspend": true })).await?;
        namespace.wait("desktop", Phase::Pending, "Suspended").await?;
        ensure!(namespace.pods.get_opt("vdi-desktop").await?.is_none() && gpus_held(&namespace).await? == 0);

        namespace.change("desktop", json!({ "suspend": false })).await?;
        let after = namespace.wait_running("desktop").await?;
        ensure!(after.url == before.url, "{:?} was {:?}", after.url, before.url);
        let found = run(stack, &namespace, "desktop", "cat ~/plan && echo more >>~/plan").await?;
        ensure!(found == "a plan\n", "{found}");

        // The home belongs to the user, not to the session.
        delete(&namespace.sessions, "desktop").await?;
        wait_gone(&namespace.pods, "vdi-desktop").await?;
        let homes: Api<PersistentVolumeClaim> = Api::namespaced(namespace.client.clone(), "files");
        ensure!(homes.list(&ListParams::default()).await?.items.len() == 1);
        create(&namespace.sessions, &small("another", &namespace)).await?;
        namespace.wait_running("another").await?;
        let found = run(stack, &namespace, "another", "cat ~/plan").await?;
        ensure!(found == "a plan\nmore\n", "{found}");
        Ok(())
    })
}

#[test]
fn a_desktop_that_crashes_is_restarted_in_place_and_fails_after_the_fourth_crash() -> Result<()> {
    with_desktops(async |stack| {
        let namespace = namespace(stack, "crash", json!({ "logInStatus": true })).await?;
        create(&namespace.sessions, &small("desktop", &namespace)).await?;
        namespace.wait_running("desktop").await?;
        let shown = namespace.wait_message("desktop", Phase::Creating, "DesktopCrashed");
        let (message, ()) = tokio::try_join!(shown, crash(stack, &namespace, "desktop"))?;
        let first = "the desktop crashed and is restarting (1 of 3): exit code 134 (Error):\n";
        let last = "vdi-desktop: the X server ended with code 134";
        ensure!(message.starts_with(first) && message.ends_with(last), "{message}");
        let event = namespace.wait_event("desktop", "DesktopCrashed").await?;
        ensure!(event == format!("{} ... {last}", first.trim_end()), "{event}");
        wait_restarted(&namespace, "desktop", 1).await?;
        namespace.wait_running("desktop").await?;

        for restarts in 2..=3 {
            crash(stack, &namespace, "desktop").await?;
            wait_restarted(&namespace, "desktop", restarts).await?;
        }
        crash(stack, &namespace, "desktop").await?;
        let message = namespace.wait_message("desktop", Phase::Failed, "CrashLoop").await?;
        ensure!(message.starts_with("crashed 4 times; the last time with exit code 134 (Error)"), "{message}");
        wait_gone(&namespace.pods, "vdi-desktop").await?;
        ensure!(gpus_held(&namespace).await? == 0);
        let description = stack.kubectl_ok(&User::admin(), ["describe", "vdi", "-n", "crash"]).await?;
        std::fs::write(target().join("describe-crash.txt"), description)?;
        Ok(())
    })
}

#[test]
fn a_desktop_that_exceeds_its_memory_is_reported_as_out_of_memory() -> Result<()> {
    with_desktops(async |stack| {
        let namespace = namespace(stack, "memory", json!({})).await?;
        let mut tight = small("desktop", &namespace);
        tight.spec.resources.memory = "256Mi".to_owned();
        create(&namespace.sessions, &tight).await?;
        namespace.wait_running("desktop").await?;
        // Like a browser with too many tabs. /dev/shm belongs to no process, so the kernel kills the X server. What is in it stays
        // until the desktop starts again, and must leave enough for that.
        let shown = namespace.wait_message("desktop", Phase::Creating, "OutOfMemory");
        let fill = exec(stack, &namespace, "desktop", "dd if=/dev/zero of=/dev/shm/full bs=1M count=240; sleep 10");
        let (message, _) = tokio::try_join!(shown, fill)?;
        let expected = "the desktop exceeded its memory limit of 256Mi and is restarting (1 of 3): exit code ";
        ensure!(message.starts_with(expected), "{message}");
        namespace.wait_running("desktop").await?;
        Ok(())
    })
}

#[test]
fn a_desktop_that_fills_its_disk_is_evicted_alone_and_its_user_is_told() -> Result<()> {
    with_desktops(async |stack| {
        let changes = json!({
            "ephemeralStorage": { "request": "16Mi", "limit": "64Mi" }, "home": { "scope": "Session" },
        });
        let namespace = namespace(stack, "disk", changes).await?;
        for name in ["desktop", "neighbour"] {
            create(&namespace.sessions, &small(name, &namespace)).await?;
        }
        namespace.wait_running("desktop").await?;
        namespace.wait_running("neighbour").await?;
        let neighbour = namespace.pods.get("vdi-neighbour").await?;

        // Its home is a volume, so it doesn't count as ephemeral storage.
        run(stack, &namespace, "desktop", "dd if=/dev/zero of=$HOME/kept bs=1M count=80").await?;
        let shown = namespace.wait_message("desktop", Phase::Pending, "Evicted");
        let fill = exec(stack, &namespace, "desktop", "dd if=/dev/zero of=/tmp/full bs=1M count=80");
        let (message, _) = tokio::try_join!(shown, fill)?;
        ensure!(message.starts_with("evicted by its node; starting a new pod: Evicted: "), "{message}");
        ensure!(message.contains("ephemeral") && message.contains("64Mi"), "{message}");
        let event = namespace.wait_event("desktop", "Evicted").await?;
        ensure!(event == message, "{event}");

        namespace.wait_running("desktop").await?;
        run(stack, &namespace, "desktop", "test -e $HOME/kept && ! test -e /tmp/full").await?;
        let now = namespace.pods.get("vdi-neighbour").await?;
        ensure!(now.metadata.uid == neighbour.metadata.uid, "the neighbour was evicted too");
        Ok(())
    })
}

#[test]
fn an_image_that_cannot_be_pulled_is_reported_and_fails_its_session_at_the_deadline() -> Result<()> {
    with_desktops(async |stack| {
        let changes = json!({ "image": "127.0.0.1:1/missing:1", "startDeadline": "15s" });
        let namespace = namespace(stack, "missing", changes).await?;
        create(&namespace.sessions, &small("desktop", &namespace)).await?;
        let message = namespace.wait_message("desktop", Phase::Creating, "ImagePullFailed").await?;
        ensure!(message.contains("127.0.0.1:1/missing:1"), "{message}");
        let message = namespace.wait_message("desktop", Phase::Failed, "StartDeadlineExceeded").await?;
        ensure!(message.contains("the desktop's image can't be pulled"), "{message}");
        wait_gone(&namespace.pods, "vdi-desktop").await?;
        ensure!(gpus_held(&namespace).await? == 0);
        Ok(())
    })
}

#[test]
fn a_session_whose_time_is_up_ends_with_its_desktop() -> Result<()> {
    with_desktops(async |stack| {
        let namespace = namespace(stack, "expiry", json!({})).await?;
        let mut short = small("desktop", &namespace);
        short.spec.timeout = "5s".to_owned();
        create(&namespace.sessions, &short).await?;
        let message = namespace.wait_message("desktop", Phase::Terminating, "Expired").await?;
        ensure!(message.starts_with("timed out at"), "{message}");
        wait_gone(&namespace.sessions, "desktop").await?;
        ensure!(namespace.pods.get_opt("vdi-desktop").await?.is_none(), "the session stays until its GPU is free");
        Ok(())
    })
}
