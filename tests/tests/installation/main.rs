//! The chart in a cluster with a real node: upgrades, a removal, who reaches the product's own pods, its own test, and routes.

mod gateway_api;
mod helm_test;
mod last_release;
mod rolling;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use vdi_api::{Phase, VDISession};
use vdi_cluster::{RealNode, SimulatedNodes, User};
use vdi_tests::{
    browser::Browser,
    desktop,
    installation::NAMESPACE,
    installed::{Installed, Options},
    objects::{create, delete, session, template, wait_gone},
    setup,
    shared::{Shared, directory},
    stack::{DESKTOPS, alice},
    target,
    test_namespace::TestNamespace,
    wait, workspace,
};

const SESSION: &str = "alice-desktop";
/// How many sessions there are on simulated nodes.
const OTHERS: usize = 10;

/// Runs a test alone on the installation of this binary, with a desktop and ten sessions on simulated nodes.
fn with_installed(test: impl AsyncFnOnce(&'static Installed) -> Result<()>) -> Result<()> {
    static INSTALLED: Shared<(Installed, SimulatedNodes)> = Shared::new();
    static ONE: Mutex<()> = Mutex::const_new(());
    match setup::why_no_real_node() {
        Some(why) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: {why}");
            Ok(())
        }
        _ => INSTALLED.with(start, async |(installed, _)| {
            let _one = ONE.lock().await;
            test(installed).await
        }),
    }
}

async fn start() -> Result<(Installed, SimulatedNodes)> {
    setup::browser().await?;
    let options = Options { port: vdi_cluster::free_port()?, gpus: 1, sign_in: false };
    let installed = Installed::start(&directory(), options).await?;
    let stack = &installed.stack;
    let namespace = TestNamespace::existing(stack, DESKTOPS);
    let sample = workspace().join("deploy/samples/alice-desktop.yaml").display().to_string();
    stack.kubectl_ok(&alice(), ["apply", "-f", &sample]).await?;
    namespace.wait_running(SESSION).await?;
    // Later, so that the desktop isn't there.
    let simulated = SimulatedNodes::start(&stack.cluster, 2, 8).await?;
    let place =
        json!({ "gpu": { "resourceName": "nvidia.com/gpu", "nodeSelector": { SimulatedNodes::LABEL: "true" } } });
    create(&Api::all(stack.cluster.admin()), &template("simulated", place)?).await?;
    for number in 0..OTHERS {
        create(&namespace.sessions, &session(&format!("other-{number}"), "simulated")).await?;
    }
    for number in 0..OTHERS {
        namespace.wait_running(&format!("other-{number}")).await?;
    }
    Ok((installed, simulated))
}

/// What must stay as it is: of each desktop's pod the uid and the restarts, of each session the start, and that it runs.
async fn desktops(installed: &Installed) -> Result<BTreeMap<String, Value>> {
    let namespace = TestNamespace::existing(&installed.stack, DESKTOPS);
    let pods = namespace.pods.list(&ListParams::default()).await?.items.into_iter().map(|pod| {
        let restarts: Vec<i32> = (pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()))
            .map(|container| container.restart_count)
            .collect();
        (pod.name_any(), json!([pod.uid(), restarts]))
    });
    let pods: Vec<_> = pods.collect();
    let sessions =
        namespace.sessions.list(&ListParams::default()).await?.items.into_iter().map(|session: VDISession| {
            let name = session.name_any();
            let status = session.status.unwrap_or_default();
            ensure!(status.phase == Phase::Running, "{name} is {:?}", status.phase);
            Ok((name, json!([status.start_time, status.url])))
        });
    let all: BTreeMap<_, _> = pods.into_iter().map(Ok).chain(sessions).collect::<Result<_>>()?;
    ensure!(all.len() == 2 * (OTHERS + 1), "{all:?}");
    Ok(all)
}

/// The uids of the product's own pods.
async fn own_pods(installed: &Installed) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(installed.stack.cluster.admin(), NAMESPACE);
    Ok(pods.list(&ListParams::default()).await?.items.iter().filter_map(ResourceExt::uid).collect())
}

/// Does something that replaces all of the product's pods, and checks what becomes of the desktops, of which a browser shows one.
async fn replace_pods(
    installed: &Installed,
    browser: &Browser,
    word: &str,
    replace: impl Future<Output = Result<()>>,
) -> Result<()> {
    let (before, old) = (desktops(installed).await?, own_pods(installed).await?);
    browser.mark_frame().await?;
    replace.await.with_context(|| format!("at the {word}"))?;
    browser.wait_for_another_frame().await?;
    browser.mark_frame().await?;
    wait::until("the old pods are gone", async || Ok(!own_pods(installed).await?.iter().any(|pod| old.contains(pod))))
        .await?;
    desktop::wait_until_shown(browser, &target().join(format!("installation-{word}.png"))).await?;
    desktop::type_and_read_back(&installed.stack, browser, (DESKTOPS, SESSION), word).await?;
    ensure!(browser.ask("return frames[0].isMarked").await == json!(true), "the page has reconnected more than once");
    let after = desktops(installed).await?;
    ensure!(after == before, "before the {word}: {before:#?}\nafter it: {after:#?}");
    Ok(())
}

#[test]
fn an_upgrade_from_the_last_release_and_a_rollback_touch_no_desktop_and_its_page_reconnects_once() -> Result<()> {
    with_installed(async |installed| {
        last_release::install(installed).await.context("installing the last release's chart")?;
        let browser = Browser::start(&installed.stack.cluster.logs()).await?;
        browser
            .witness(async {
                let (host, code) = installed.entrance.link(&installed.stack, &alice(), DESKTOPS, SESSION).await?;
                browser.open(&format!("https://{}/.vdi/enter#{code}", installed.entrance.authority(&host))).await?;
                browser.wait_for_frame().await?;
                desktop::wait_until_shown(&browser, &target().join("installation.png")).await?;
                desktop::type_and_read_back(&installed.stack, &browser, (DESKTOPS, SESSION), "before").await?;

                let settings = json!({ "settings": { "log": "debug" } });
                let changes = json!({ "controller": settings, "gateway": settings });
                replace_pods(installed, &browser, "upgrade", installed.upgrade(&changes)).await?;
                replace_pods(installed, &browser, "rollback", installed.rollback()).await
            })
            .await?;
        // For the other tests.
        installed.upgrade(&json!({})).await
    })
}

#[test]
fn an_uninstallation_leaves_desktops_sessions_and_homes_and_another_installation_takes_them_over() -> Result<()> {
    with_installed(async |installed| {
        let before = desktops(installed).await?;
        let homes: Api<PersistentVolumeClaim> = Api::namespaced(installed.stack.cluster.admin(), DESKTOPS);
        let claims = async || -> Result<Vec<_>> {
            Ok(homes
                .list(&ListParams::default())
                .await?
                .items
                .iter()
                .map(|home| (home.name_any(), home.uid()))
                .collect())
        };
        let homes = claims().await?;
        ensure!(homes.len() == 1, "{homes:?}");
        installed.uninstall().await?;
        wait::until("the product's pods are gone", async || Ok(own_pods(installed).await?.is_empty())).await?;
        ensure!(desktops(installed).await? == before && claims().await? == homes, "uninstalled, {before:?} {homes:?}");

        installed.install().await?;
        // Whoever is the leader has seen all of them once it has created another.
        let namespace = TestNamespace::existing(&installed.stack, DESKTOPS);
        create(&namespace.sessions, &session("newcomer", "simulated")).await?;
        namespace.wait_running("newcomer").await?;
        delete(&namespace.sessions, "newcomer").await?;
        wait_gone(&namespace.pods, "vdi-newcomer").await?;
        ensure!(
            desktops(installed).await? == before && claims().await? == homes,
            "installed again, {before:?} {homes:?}"
        );
        Ok(())
    })
}

#[test]
fn the_operations_ports_are_open_to_the_controller_and_prometheus_alone() -> Result<()> {
    with_installed(async |installed| {
        let pods: Api<Pod> = Api::namespaced(installed.stack.cluster.admin(), NAMESPACE);
        let address = async |name: &str| {
            let selector = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
            let pod = pods.list(&selector).await?.items.into_iter().find_map(|pod| pod.status?.pod_ip);
            pod.with_context(|| format!("{name} has no pod with an address"))
        };
        let (controller, gateway) = (address("vdi-controller").await?, address("vdi-gateway").await?);
        let reached = async |namespace: &str, pod: &str| -> Result<Vec<&str>> {
            let mut reached = vec![];
            for (target, address, port) in
                [("controller", &controller, "8080"), ("operations", &gateway, "8081"), ("browsers", &gateway, "8443")]
            {
                let connect = format!("nc -w 3 {address} {port} -e true");
                let command = ["exec", "-n", namespace, pod, "--", "sh", "-c", &connect];
                let output = installed.stack.kubectl(&User::admin(), command).await?;
                let error = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.success() || error.trim_end().ends_with("exit code 1"), "{error}");
                if output.status.success() {
                    reached.push(target);
                }
            }
            Ok(reached)
        };
        for (namespace, expected) in
            [("strangers", &["browsers"][..]), ("monitoring", &["controller", "operations", "browsers"])]
        {
            TestNamespace::new(&installed.stack, namespace).await?;
            let here = json!({ "spec": { "nodeName": installed.node() } }).to_string();
            let run = ["run", "visitor", "-n", namespace, "--image", RealNode::BUSYBOX, "--overrides", &here];
            let run = run.into_iter().chain(["--", "sleep", "infinity"]);
            installed.stack.kubectl_ok(&User::admin(), run).await?;
            let ready = ["wait", "--for=condition=Ready", "pod/visitor", "-n", namespace, "--timeout=60s"];
            installed.stack.kubectl_ok(&User::admin(), ready).await?;
            // The firewall learns a pod's address a moment after the pod has it.
            let mut found = vec![];
            for _ in 0..20 {
                found = reached(namespace, "visitor").await?;
                if found == expected {
                    break;
                }
            }
            ensure!(found == expected, "a pod in {namespace} reaches {found:?}, and should reach {expected:?}");
        }
        // The controller asks the gateways when desktops were last used: only if all answer does an idle one end.
        let idle = json!({ "gpu": { "nodeSelector": { SimulatedNodes::LABEL: "true" } }, "idleTimeout": "10s" });
        create(&Api::all(installed.stack.cluster.admin()), &template("idle", idle)?).await?;
        let namespace = TestNamespace::existing(&installed.stack, "strangers");
        create(&namespace.sessions, &session("idle", "idle")).await?;
        wait_gone(&namespace.sessions, "idle").await?;
        Ok(())
    })
}
