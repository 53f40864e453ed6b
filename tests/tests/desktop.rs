//! Real desktops: a kubelet, containerd, the desktop image and a browser on this machine. Linux and root.

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use vdi_api::Phase;
use vdi_cluster::{RealNode, RealNodeOptions, User};
use vdi_tests::{
    browser::Browser,
    desktop,
    objects::{Space, create, wait_gone},
    setup,
    stack::{Settings, Stack},
    target,
};

/// Whether there can be real desktops here. What is skipped on somebody's laptop must not be skipped in CI.
fn can_run() -> Result<bool> {
    match setup::why_no_real_node() {
        None => Ok(true),
        Some(why) if std::env::var_os("CI").is_some() => bail!("{why}, and in CI this test is not to be skipped"),
        Some(why) => {
            eprintln!("skipped: {why}");
            Ok(false)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_a_desktop_in_a_browser_and_its_end_is_explained() -> Result<()> {
    if !can_run()? {
        return Ok(());
    }
    let directory = target().join("clusters/desktop");
    setup::browser().await?;
    let images = vec![setup::desktop_image().await?];
    let link = ["--url-template", "http://{podIP}:{port}/"].map(String::from);
    let stack = Stack::start(&directory, Settings { controller: link.into(), ..Settings::default() }).await?;
    let _node = RealNode::start(&stack.cluster, RealNodeOptions { gpus: 2, images }).await?;

    let space = Space::new(&stack, "real").await?;
    let label = ["label", "namespace", "real", "pod-security.kubernetes.io/enforce=restricted"];
    stack.kubectl_ok(&User::admin(), label).await?;
    let image = "vdiwarden.local/desktop:dev";
    space.template(json!({ "image": image })).await?;

    // It is drawn.
    space.session("desktop").await?;
    let running = space.wait_running("desktop").await?;
    let browser = Browser::start(&stack.cluster.logs()).await?;
    let url = running.url.context("no URL")?;
    desktop::wait_until_drawn(&browser, &url, &target().join("desktop.png")).await?;

    // It ends when its X server does, and its session says so.
    let crash = r#"for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = Xvnc ] && kill -SEGV ${p#/proc/}; done; true"#;
    // The command may end with the container that it ends: what counts is what becomes of the session.
    stack.kubectl(&User::admin(), ["exec", "-n", "real", "vdi-desktop", "--", "sh", "-c", crash]).await?;
    let failed = space.wait("desktop", Phase::Failed, "DesktopEnded").await?;
    let message = &failed.ready().context("no condition")?.message;
    ensure!(message.starts_with("the desktop ended with exit code 134 (Error)"), "{message}");

    // An image that can't be pulled is explained, and given up on in time.
    let missing = json!({ "image": "127.0.0.1:1/missing:1", "startDeadline": "15s" });
    create(&kube::Api::all(space.client.clone()), &vdi_tests::objects::template("missing", missing)?).await?;
    create(&space.sessions, &vdi_tests::objects::session("missing", "missing")).await?;
    let creating = space.wait("missing", Phase::Creating, "ImagePullFailed").await?;
    let message = &creating.ready().context("no condition")?.message;
    ensure!(message.contains("127.0.0.1:1/missing:1"), "{message}");
    let failed = space.wait("missing", Phase::Failed, "StartDeadlineExceeded").await?;
    let message = &failed.ready().context("no condition")?.message;
    ensure!(message.contains("the desktop's image can't be pulled"), "{message}");
    wait_gone(&space.pods, "vdi-missing").await
}
