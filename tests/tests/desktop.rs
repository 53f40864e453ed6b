//! Real desktops: a kubelet, containerd, the desktop image and a browser on this machine. Linux and root.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use vdi_api::{Phase, VDISession, VDISessionStatus, VDITemplate};
use vdi_cluster::{RealNode, RealNodeOptions, User};
use vdi_tests::{
    browser::Browser,
    desktop,
    objects::{Space, create, session, wait_for, wait_gone},
    setup,
    shared::{Shared, directory},
    stack::{Settings, Stack},
    target, workspace,
};

/// Runs a test on the one real node of this binary. What is skipped on somebody's laptop must not be skipped in CI.
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
    let node = RealNode::start(&stack.cluster, RealNodeOptions { gpus: 16, images }).await?;
    Ok((node, stack))
}

/// A namespace under the restricted standard, and the template of deploy/samples in it, with changes.
async fn space(stack: &Stack, name: &str, changes: Value) -> Result<Space> {
    let space = Space::new(stack, name).await?;
    let label = ["label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"];
    stack.kubectl_ok(&User::admin(), label).await?;
    let sample = std::fs::read_to_string(workspace().join("deploy/samples/ubuntu-desktop.yaml"))?;
    let sample: VDITemplate = serde_saphyr::from_str(&sample)?;
    let mut spec = serde_json::to_value(sample.spec)?;
    json_patch::merge(&mut spec, &changes);
    space.template(spec).await?;
    Ok(space)
}

/// Runs a shell's command in a session's desktop, as its user might in a terminal.
async fn run(stack: &Stack, space: &Space, session: &str, command: &str) -> Result<String> {
    let pod = format!("vdi-{session}");
    stack.kubectl_ok(&User::admin(), ["exec", "-n", &space.name, &pod, "--", "sh", "-c", command]).await
}

/// How many GPUs the space's pods hold. A pod that is there and has not ended holds them.
async fn gpus_held(space: &Space) -> Result<i64> {
    let held = |pod: Pod| -> Option<i64> {
        let phase = pod.status?.phase?;
        let limits = pod.spec?.containers.into_iter().next()?.resources?.limits?;
        (phase != "Failed" && phase != "Succeeded").then(|| limits["nvidia.com/gpu"].0.parse().ok()).flatten()
    };
    Ok(space.pods.list(&ListParams::default()).await?.into_iter().filter_map(held).sum())
}

async fn suspend(space: &Space, session: &str, suspend: bool) -> Result<()> {
    let patch = Patch::Merge(json!({ "spec": { "suspend": suspend } }));
    space.sessions.patch(session, &PatchParams::default(), &patch).await?;
    Ok(())
}

fn message(status: &VDISessionStatus) -> &str {
    status.ready().map_or("", |ready| &ready.message)
}

/// The warnings that the session's user reads, as `reason: note`.
async fn warnings(space: &Space, session: &str) -> Result<Vec<String>> {
    let events: Api<Event> = Api::namespaced(space.client.clone(), &space.name);
    let of_session = |event: &Event| {
        let regarding = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
        regarding == Some(session) && event.type_.as_deref() == Some("Warning")
    };
    let events = events.list(&ListParams::default()).await?.into_iter().filter(of_session);
    Ok(events
        .map(|event| format!("{}: {}", event.reason.unwrap_or_default(), event.note.unwrap_or_default()))
        .collect())
}

/// Ends the X server of a desktop as a bug in it would.
const CRASH: &str = r#"for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = Xvnc ] && kill -SEGV ${p#/proc/}; done; true"#;

async fn crash(stack: &Stack, space: &Space, session: &str) -> Result<()> {
    let pod = format!("vdi-{session}");
    // The command may end with the container that it ends: what counts is what becomes of the session.
    stack.kubectl(&User::admin(), ["exec", "-n", &space.name, &pod, "--", "sh", "-c", CRASH]).await.map(drop)
}

/// Waits until the container has been started so often.
async fn wait_restarted(space: &Space, session: &str, restarts: i32) -> Result<()> {
    let restarted = |pod: &Pod| {
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        statuses.into_iter().any(|container| container.restart_count == restarts && container.ready)
    };
    wait_for(&space.pods, &format!("vdi-{session}"), &format!("restarted {restarts} times"), restarted).await.map(drop)
}

#[test]
fn a_session_is_a_desktop_in_a_browser_that_says_what_it_renders_with() -> Result<()> {
    with_desktops(async |stack| {
        setup::browser().await?;
        let space = space(stack, "seen", json!({})).await?;
        space.session("desktop").await?;
        space.wait_running("desktop").await?;
        let ip = space.pods.get("vdi-desktop").await?.status.and_then(|status| status.pod_ip).context("no address")?;
        let browser = Browser::start(&stack.cluster.logs()).await?;
        desktop::wait_until_drawn(&browser, &format!("http://{ip}:6080/"), &target().join("desktop.png")).await?;

        let tells = |session: &VDISession| {
            let status = session.status.iter().flat_map(|status| &status.conditions);
            status.into_iter().any(|condition| {
                condition.type_ == "Accelerated"
                    && condition.status == "False"
                    && condition.message.contains("llvmpipe")
            })
        };
        wait_for(&space.sessions, "desktop", "known to render in software", tells).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let warnings = warnings(&space, "desktop").await?;
        ensure!(
            warnings.iter().any(|warning| warning.starts_with("SoftwareRendering: this session has GPUs, but")),
            "{warnings:?}"
        );
        let story = stack.kubectl_ok(&User::admin(), ["describe", "vdi", "-n", "seen"]).await?;
        std::fs::write(target().join("describe.txt"), story)?;
        Ok(())
    })
}

#[test]
fn a_suspended_session_holds_no_gpu_and_finds_its_files_again_when_it_goes_on() -> Result<()> {
    with_desktops(async |stack| {
        let space = space(stack, "files", json!({})).await?;
        space.session("desktop").await?;
        let before = space.wait_running("desktop").await?;
        run(stack, &space, "desktop", "cd && touch plan && echo 'a plan' >plan").await?;
        ensure!(gpus_held(&space).await? == 1);

        suspend(&space, "desktop", true).await?;
        space.wait("desktop", Phase::Pending, "Suspended").await?;
        ensure!(space.pods.get_opt("vdi-desktop").await?.is_none() && gpus_held(&space).await? == 0);

        suspend(&space, "desktop", false).await?;
        let after = space.wait_running("desktop").await?;
        ensure!(after.url == before.url, "{:?} was {:?}", after.url, before.url);
        let found = run(stack, &space, "desktop", "cat ~/plan && echo more >>~/plan").await?;
        ensure!(found == "a plan\n", "{found}");

        // The home is the user's, not the session's.
        vdi_tests::objects::delete(&space.sessions, "desktop").await?;
        wait_gone(&space.pods, "vdi-desktop").await?;
        let homes: Api<PersistentVolumeClaim> = Api::namespaced(space.client.clone(), "files");
        ensure!(homes.list(&ListParams::default()).await?.items.len() == 1);
        space.session("another").await?;
        space.wait_running("another").await?;
        let found = run(stack, &space, "another", "cat ~/plan").await?;
        ensure!(found == "a plan\nmore\n", "{found}");
        Ok(())
    })
}

#[test]
fn a_desktop_that_crashes_is_started_again_in_place_and_given_up_after_the_fourth_time() -> Result<()> {
    with_desktops(async |stack| {
        let space = space(stack, "crash", json!({})).await?;
        space.session("desktop").await?;
        space.wait_running("desktop").await?;
        crash(stack, &space, "desktop").await?;
        let crashed = space.wait("desktop", Phase::Creating, "DesktopCrashed").await?;
        let first =
            "the desktop crashed and is started again (time 1 of 3): the desktop ended with exit code 134 (Error)";
        ensure!(message(&crashed).starts_with(first), "{}", message(&crashed));
        ensure!(message(&crashed).contains("vdi-desktop: the X server ended with code 134"), "{}", message(&crashed));
        space.wait_running("desktop").await?;
        wait_restarted(&space, "desktop", 1).await?;
        let told = warnings(&space, "desktop").await?;
        ensure!(told.iter().any(|warning| warning.starts_with("DesktopCrashed: the desktop crashed")), "{told:?}");

        for restarts in 2..=3 {
            crash(stack, &space, "desktop").await?;
            wait_restarted(&space, "desktop", restarts).await?;
        }
        crash(stack, &space, "desktop").await?;
        let failed = space.wait("desktop", Phase::Failed, "CrashLoop").await?;
        ensure!(message(&failed).starts_with("it crashed again and again"), "{}", message(&failed));
        wait_gone(&space.pods, "vdi-desktop").await?;
        ensure!(gpus_held(&space).await? == 0);
        let story = stack.kubectl_ok(&User::admin(), ["describe", "vdi", "-n", "crash"]).await?;
        std::fs::write(target().join("describe-crash.txt"), story)?;
        Ok(())
    })
}

#[test]
fn a_desktop_that_uses_more_than_its_memory_is_told_from_one_that_crashes() -> Result<()> {
    with_desktops(async |stack| {
        let space = space(stack, "memory", json!({})).await?;
        let mut small = session("desktop", "memory");
        small.spec.resources.memory = "256Mi".to_owned();
        create(&space.sessions, &small).await?;
        space.wait_running("desktop").await?;
        // As a browser with too many tabs would.
        let fill = "dd if=/dev/zero of=/dev/shm/full bs=1M count=255; sleep 5";
        let pod = ["exec", "-n", "memory", "vdi-desktop", "--", "sh", "-c", fill];
        stack.kubectl(&User::admin(), pod).await?;
        let ended = space.wait("desktop", Phase::Creating, "OutOfMemory").await?;
        let what = "the desktop used more than its memory of 256Mi and is started again (time 1 of 3)";
        ensure!(message(&ended).starts_with(what), "{}", message(&ended));
        space.wait_running("desktop").await?;
        Ok(())
    })
}

#[test]
fn an_image_that_cannot_be_pulled_is_explained_and_given_up_on_in_time() -> Result<()> {
    with_desktops(async |stack| {
        let changes = json!({ "image": "127.0.0.1:1/missing:1", "startDeadline": "15s" });
        let space = space(stack, "missing", changes).await?;
        space.session("desktop").await?;
        let creating = space.wait("desktop", Phase::Creating, "ImagePullFailed").await?;
        ensure!(message(&creating).contains("127.0.0.1:1/missing:1"), "{}", message(&creating));
        let failed = space.wait("desktop", Phase::Failed, "StartDeadlineExceeded").await?;
        ensure!(message(&failed).contains("the desktop's image can't be pulled"), "{}", message(&failed));
        wait_gone(&space.pods, "vdi-desktop").await?;
        ensure!(gpus_held(&space).await? == 0);
        Ok(())
    })
}

#[test]
fn a_session_whose_time_is_up_ends_with_its_desktop() -> Result<()> {
    with_desktops(async |stack| {
        let space = space(stack, "expiry", json!({})).await?;
        let mut short = session("desktop", "expiry");
        short.spec.timeout = "5s".to_owned();
        create(&space.sessions, &short).await?;
        let ending = space.wait("desktop", Phase::Terminating, "Expired").await?;
        ensure!(message(&ending).starts_with("the session's time was up at"), "{}", message(&ending));
        wait_gone(&space.sessions, "desktop").await?;
        ensure!(space.pods.get_opt("vdi-desktop").await?.is_none(), "the session stays until its GPU is free");
        Ok(())
    })
}
