//! What desktops can reach and what can reach them, with real packets: the node enforces the controller's network policies.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{
    Api,
    api::{ListParams, LogParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use vdi_api::VDITemplate;
use vdi_cluster::{RealNode, User};
use vdi_tests::{
    objects::{create, delete, wait_for, wait_gone},
    stack::Stack,
    test_namespace::TestNamespace,
};

use super::{namespace, run, small, with_desktops};

/// Exits with 0 if it can connect and with 1 if it can't, in the desktop image and in busybox.
const CONNECT: &str = r#"
if command -v nc >/dev/null; then exec nc -w 3 "$0" "$1" -e true; fi
timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$0" "$1" || exit 1"#;

/// Accepts connections to these ports of all addresses, for as long as the pod runs.
const LISTEN: &str = "for port in 80 445 8080; do nc -ll -p $port -e true & done; exec sleep infinity";

/// A busybox pod that isn't a desktop. It meets the restricted standard unless it has capabilities.
struct Busybox<'a> {
    namespace: &'a str,
    name: &'a str,
    labels: Value,
    capabilities: &'a [&'a str],
    script: &'a str,
}

impl Busybox<'_> {
    /// Creates the pod, waits until it's Ready, and returns its address.
    async fn start(&self, stack: &Stack) -> Result<String> {
        address(&self.create(stack).await?, self.name).await
    }

    async fn create(&self, stack: &Stack) -> Result<Api<Pod>> {
        let root = !self.capabilities.is_empty();
        let pod = json!({
            "metadata": { "name": self.name, "labels": self.labels },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "restartPolicy": "Never",
                "securityContext": {
                    "runAsUser": if root { 0 } else { 1000 },
                    "runAsNonRoot": !root,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": [{
                    "name": "main",
                    "image": RealNode::BUSYBOX,
                    "command": ["/bin/sh", "-c", self.script],
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": { "drop": ["ALL"], "add": self.capabilities },
                    },
                }],
            },
        });
        let pods: Api<Pod> = Api::namespaced(stack.cluster.admin(), self.namespace);
        create(&pods, &serde_json::from_value(pod)?).await?;
        Ok(pods)
    }
}

/// A pod that only runs what tests execute in it.
fn idle<'a>(namespace: &'a str, name: &'a str, labels: Value) -> Busybox<'a> {
    Busybox { namespace, name, labels, capabilities: &[], script: "exec sleep infinity" }
}

/// Waits until a pod is Ready, and returns its address.
async fn address(pods: &Api<Pod>, name: &str) -> Result<String> {
    let ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let pod = wait_for(pods, name, "Ready", ready).await?;
    pod.status.and_then(|status| status.pod_ip).context("no address")
}

/// The targets that the pod can connect to, each `ADDRESS PORT`.
async fn reached<'a>(stack: &Stack, namespace: &str, pod: &str, targets: &[&'a str]) -> Result<Vec<&'a str>> {
    let attempt = async |target: &&'a str| {
        let (address, port) = target.split_once(' ').context("no port")?;
        let command = ["exec", "-n", namespace, pod, "--", "sh", "-c", CONNECT, address, port];
        let output = stack.kubectl(&User::admin(), command).await?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() || stderr.trim_end().ends_with("exit code 1"), "{pod}: {stderr}");
        Ok::<_, anyhow::Error>(output.status.success().then_some(*target))
    };
    let attempts = futures::future::try_join_all(targets.iter().map(attempt)).await?;
    Ok(attempts.into_iter().flatten().collect())
}

/// Starts a session, and returns the address of its desktop.
async fn desktop(namespace: &TestNamespace, name: &str) -> Result<String> {
    create(&namespace.sessions, &small(name, namespace)).await?;
    namespace.wait_running(name).await?;
    address(&namespace.pods, &format!("vdi-{name}")).await
}

/// Retries until the firewall knows the pods: it learns a pod's address only once the pod has one.
async fn wait_until_reached(stack: &Stack, pod: (&str, &str), targets: &[&str], expected: &[&str]) -> Result<()> {
    for _ in 0..20 {
        if reached(stack, pod.0, pod.1, targets).await? == expected {
            return Ok(());
        }
    }
    expect_reached(stack, pod, targets, expected).await
}

/// Fails unless the pod reaches exactly the expected targets.
async fn expect_reached(stack: &Stack, pod: (&str, &str), targets: &[&str], expected: &[&str]) -> Result<()> {
    let (namespace, name) = pod;
    let found = reached(stack, namespace, name, targets).await?;
    ensure!(found == expected, "{namespace}/{name} reaches {found:?} of {targets:?}, and should reach {expected:?}");
    Ok(())
}

#[test]
fn a_desktops_port_is_open_to_the_gateways_pods_and_to_no_others() -> Result<()> {
    with_desktops(async |stack| {
        let namespace = namespace(stack, "fenced", json!({ "home": { "scope": "Session" } })).await?;
        TestNamespace::new(stack, "fenced-out").await?;
        let ours = json!({ "app.kubernetes.io/part-of": "vdiwarden" });
        let gateway = idle("vdiwarden-system", "gateway", ours.clone());
        let others = [
            idle("vdiwarden-system", "another-of-its-namespace", json!({})),
            idle("fenced-out", "another-of-its-labels", ours),
            idle("fenced-out", "another", json!({})),
            idle("kube-system", "another", json!({})),
            idle("fenced", "another", json!({})),
        ];
        // It isn't a desktop, so every pod reaches it. This shows that the pods can connect at all.
        let open = Busybox { script: LISTEN, ..idle("fenced", "open", json!({})) };
        let pods = others.iter().chain([&gateway, &open]).map(|pod| pod.start(stack));
        let addresses = futures::future::try_join_all(pods).await?;
        let open = format!("{} 8080", addresses[addresses.len() - 1]);
        let (desktop, neighbour) = tokio::try_join!(desktop(&namespace, "desktop"), desktop(&namespace, "neighbour"))?;
        let (desktop, neighbour) = (format!("{desktop} 6080"), format!("{neighbour} 6080"));

        let targets = [desktop.as_str(), &neighbour, &open];
        wait_until_reached(stack, (gateway.namespace, gateway.name), &targets, &targets).await?;
        wait_until_reached(stack, ("fenced", "another"), &targets, &[&open]).await?;
        expect_reached(stack, (gateway.namespace, gateway.name), &targets, &targets).await?;
        for pod in &others {
            expect_reached(stack, (pod.namespace, pod.name), &targets, &[&open]).await?;
        }
        // A desktop reaches its own port without the network.
        expect_reached(stack, ("fenced", "vdi-neighbour"), &targets, &[&neighbour]).await
    })
}

/// Targets outside the cluster, each with a listener. The first has a public address, and a template opens the second.
const OUTSIDE: [&str; 11] = [
    "198.51.100.7 80",
    "192.168.78.7 445",
    "192.168.78.7 80",
    "192.168.79.7 445",
    "10.200.7.7 80",
    "172.16.7.7 80",
    "100.64.7.7 80",
    "169.254.169.254 80",
    "100.100.100.200 80",
    "168.63.129.16 80",
    "198.18.7.7 80",
];
const WORLD: &str = OUTSIDE[0];
const OPENED: &str = OUTSIDE[1];

/// Runs a pod that has all addresses of [`OUTSIDE`] and that everything goes to which is neither for a pod nor for a Service.
async fn start_outside(stack: &Stack, machine: IpAddr) -> Result<()> {
    TestNamespace::new(stack, "outside").await?;
    let gateway = machine.to_string().rsplit_once('.').map(|(network, _)| format!("{network}.3/24"));
    let own = OUTSIDE.map(|target| target.split(' ').next().unwrap_or_default());
    let add = own.map(|address| format!("ip address add {address}/32 dev lo"));
    let script = format!("ip address add {} dev eth0; {}; {LISTEN}", gateway.context("no IPv4")?, add.join("; "));
    let pod = Busybox {
        capabilities: &["NET_ADMIN", "NET_BIND_SERVICE"],
        script: &script,
        ..idle("outside", "outside", json!({}))
    };
    pod.start(stack).await.map(drop)
}

/// The Service of the API server.
async fn api_server(stack: &Stack) -> Result<String> {
    let service = Api::<Service>::namespaced(stack.cluster.admin(), "default").get("kubernetes").await?;
    service.spec.and_then(|spec| spec.cluster_ip).context("the API server has no address")
}

#[test]
fn a_desktop_reaches_public_addresses_and_what_its_template_opens_and_nothing_else() -> Result<()> {
    with_desktops(async |stack| {
        let opened = json!({ "egress": [{ "cidr": "192.168.78.0/24", "ports": [445] }] });
        let namespace =
            namespace(stack, "leaving", json!({ "network": opened, "home": { "scope": "Session" } })).await?;
        let nodes: Vec<Node> = Api::all(stack.cluster.admin()).list(&ListParams::default()).await?.items;
        let addresses = nodes.into_iter().filter_map(|node| node.status?.addresses).flatten();
        let machine = addresses.map(|address| address.address.parse::<IpAddr>()).find_map(Result::ok);
        let machine = machine.context("the node has no address")?;
        start_outside(stack, machine).await?;
        let api_server = api_server(stack).await?;
        let open = Busybox { script: LISTEN, ..idle("leaving", "open", json!({})) };
        let open = open.start(stack).await?;
        let (_, neighbour) = tokio::try_join!(desktop(&namespace, "desktop"), desktop(&namespace, "neighbour"))?;

        let inside = [
            format!("{open} 8080"),
            format!("{neighbour} 6080"),
            format!("{api_server} 443"),
            // The kubelet.
            format!("{machine} 10250"),
        ];
        let targets: Vec<&str> = OUTSIDE.into_iter().chain(inside.iter().map(String::as_str)).collect();
        // A pod that isn't a desktop reaches all of them except for the other desktop.
        let expected: Vec<&str> = targets.iter().copied().filter(|target| *target != inside[1]).collect();
        wait_until_reached(stack, ("leaving", "open"), &targets, &expected).await?;
        wait_until_reached(stack, ("leaving", "vdi-desktop"), &targets, &[WORLD, OPENED]).await?;
        expect_reached(stack, ("leaving", "vdi-desktop"), &targets, &[WORLD, OPENED]).await?;

        let lookup = "getent hosts kubernetes.default.svc.cluster.local";
        let found = run(stack, &namespace, "desktop", lookup).await?;
        ensure!(found.starts_with(&format!("{api_server} ")), "{found}");

        // The egress rule is deleted with the session, and a new session of the same name doesn't inherit it.
        delete(&namespace.sessions, "desktop").await?;
        wait_gone(&namespace.pods, "vdi-desktop").await?;
        let closed = json!([{ "op": "remove", "path": "/spec/network" }]);
        let closed = Patch::<()>::Json(serde_json::from_value(closed)?);
        let templates: Api<VDITemplate> = Api::all(stack.cluster.admin());
        templates.patch("leaving", &PatchParams::default(), &closed).await?;
        desktop(&namespace, "desktop").await?;
        wait_until_reached(stack, ("leaving", "vdi-desktop"), &targets, &[WORLD]).await?;
        expect_reached(stack, ("leaving", "vdi-desktop"), &targets, &[WORLD]).await?;
        check_closed_soon_after_start(stack, "leaving").await
    })
}

/// Prints the time when it starts and whenever it reaches a private address, until that fails for a second.
const TRY: &str = r#"
now() { cut -d ' ' -f 1 /proc/uptime; }
now
missed=0
while [ $missed -lt 20 ]; do
    if nc -w 1 10.200.7.7 80 -e true 2>/dev/null; then missed=0; now; else missed=$((missed + 1)); usleep 50000; fi
done"#;

/// The firewall learns a pod's address only once the pod has one, so for a moment a desktop reaches what it must not.
async fn check_closed_soon_after_start(stack: &Stack, namespace: &str) -> Result<()> {
    let labels = json!({ "app.kubernetes.io/name": "vdi-desktop" });
    let pods = Busybox { script: TRY, ..idle(namespace, "early", labels) }.create(stack).await?;
    let ended = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Succeeded"));
    wait_for(&pods, "early", "finished", ended).await?;
    let output = pods.logs("early", &LogParams::default()).await?;
    let times: Vec<f64> = output.lines().map(str::parse).collect::<Result<_, _>>()?;
    let (Some(first), Some(last)) = (times.first(), times.last()) else { bail!("the pod printed {output:?}") };
    eprintln!(
        "a desktop was open for {:.2} s after its start, in which it connected {} times",
        last - first,
        times.len() - 1
    );
    ensure!(last - first < 5.0, "{output}");
    Ok(())
}
