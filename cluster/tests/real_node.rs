//! A real node. It needs Linux and root, and changes nothing on the machine that outlives it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{LogParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::json;
use vdi_cluster::{ControlPlane, RealNode, RealNodeOptions, User};

/// What one test leaves behind is found by looking at the whole machine, where nodes of other processes come and go.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn a_pod_runs_with_a_gpu_and_can_be_read_and_reached() {
    if !can_run() {
        return;
    }
    let _alone = ALONE.lock().await;
    let before = traces();
    let directory = tempfile::tempdir().unwrap();
    let cluster = ControlPlane::start(directory.path(), &[]).await.unwrap();
    let node = RealNode::start(&cluster, RealNodeOptions { gpus: 2, ..Default::default() }).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(cluster.admin());
    run_pod(&pods, "echo hello from $(id -u); exec nc -l -p 8080 -e echo reached").await;

    let logs = pods.logs("hello", &LogParams::default()).await.unwrap();
    assert_eq!(logs, "hello from 1000\n");

    let mut exec = cluster.kubectl(&User::admin(), ["exec", "hello", "--", "/bin/ls", "/bin/busybox"]).unwrap();
    assert_eq!(String::from_utf8(exec.output().await.unwrap().stdout).unwrap(), "/bin/busybox\n");

    let status = pods.get("hello").await.unwrap().status.unwrap();
    let mut connection = tokio::net::TcpStream::connect((status.pod_ip.unwrap(), 8080)).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut connection, &mut answer).await.unwrap();
    assert_eq!(answer, "reached\n");

    let name = node.name().to_owned();
    drop(node);
    drop(cluster);
    nothing_left(&before, &name).await;
}

#[tokio::test]
async fn nothing_is_left_when_the_owner_is_killed() {
    if !can_run() {
        return;
    }
    let _alone = ALONE.lock().await;
    let before = traces();
    let directory = tempfile::tempdir().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_that_is_killed", "--ignored", "--nocapture"])
        .env("CLUSTER_DIRECTORY", directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = async {
        while !directory.path().join("data/started").exists() {
            assert!(owner.try_wait().unwrap().is_none(), "the owner runs");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), started).await.unwrap();
    let name = std::fs::read_to_string(directory.path().join("data/started")).unwrap();
    let new = traces_of(&name, &before);
    assert!(new.iter().all(|trace| !trace.contains("KUBE-")), "the firewall is in the pods' own network: {new:#?}");
    assert!(new.iter().all(|trace| !trace.ends_with("kube-proxy")), "and so are the services: {new:#?}");
    for trace in ["process", "/run/vdi-", "/sys/class/net/vdi-", "/sys/fs/cgroup/"] {
        assert!(new.iter().any(|found| found.starts_with(trace)), "{new:#?} has a {trace}");
    }

    owner.kill().unwrap();
    owner.wait().unwrap();
    nothing_left(&before, &name).await;
    let kept = BTreeSet::from(["lock", "logs"].map(|name| directory.path().join(name)));
    let gone = async {
        while BTreeSet::from_iter(entries(directory.path())) != kept {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
}

#[tokio::test]
#[ignore = "a process that another test starts and kills"]
async fn owner_that_is_killed() {
    let directory = PathBuf::from(std::env::var_os("CLUSTER_DIRECTORY").unwrap());
    let cluster = ControlPlane::start(&directory, &[]).await.unwrap();
    let node = RealNode::start(&cluster, RealNodeOptions { gpus: 1, ..Default::default() }).await.unwrap();
    run_pod(&Api::default_namespaced(cluster.admin()), "exec sleep infinity").await;
    let started = directory.join("data/started");
    std::fs::write(started.with_extension("new"), node.name()).unwrap();
    std::fs::rename(started.with_extension("new"), started).unwrap();
    std::future::pending::<()>().await;
}

/// Whether a real node can run here. Where tests have to be complete, it has to.
fn can_run() -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let can = cfg!(target_os = "linux") && root;
    assert!(can || std::env::var_os("CI").is_none(), "CI has to run this as root on Linux");
    if !can {
        eprintln!("skipped: a real node needs Linux and root");
    }
    can
}

/// Runs a pod named hello until it's Ready.
async fn run_pod(pods: &Api<Pod>, script: &str) {
    let pod = json!({
        "metadata": {"name": "hello"},
        "spec": {
            "securityContext": {"runAsUser": 1000, "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main",
                "image": RealNode::BUSYBOX,
                "command": ["/bin/sh", "-c", script],
                "resources": {"limits": {"nvidia.com/gpu": "1", "memory": "64Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let running = await_condition(pods.clone(), "hello", conditions::is_pod_running());
    let running = tokio::time::timeout(Duration::from_secs(60), running).await;
    assert!(running.is_ok(), "{:?}", pods.get("hello").await);
}

async fn nothing_left(before: &BTreeSet<String>, node: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let left = traces_of(node, before);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{left:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The traces that weren't there before, without those that name another node.
fn traces_of(node: &str, before: &BTreeSet<String>) -> BTreeSet<String> {
    let mut traces = &traces() - before;
    traces.retain(|trace| node_of(trace).is_none_or(|name| name == node));
    traces
}

/// The node that a trace names, such as `vdi-7`.
fn node_of(trace: &str) -> Option<&str> {
    let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_digit).count();
    trace.match_indices("vdi-").find_map(|(start, prefix)| {
        let number = start + prefix.len();
        let end = number + digits(&trace[number..]);
        (end > number).then(|| &trace[start..end])
    })
}

/// What there is on this machine of all that a node could leave behind.
fn traces() -> BTreeSet<String> {
    let mut traces = BTreeSet::new();
    for process in entries("/proc") {
        // Servers have the node's name in their environment, containers are in its cgroup.
        let mention = |file: &str, prefix: &str| {
            let text = std::fs::read(process.join(file)).ok()?;
            let text = String::from_utf8_lossy(&text);
            Some(node_of(&text[text.find(&format!("{prefix}vdi-"))?..])?.to_owned())
        };
        if let Some(node) = mention("environ", "NODE=").or_else(|| mention("cgroup", ":/")) {
            traces.insert(format!("process {} of {node}", process.display()));
        }
    }
    let paths = ["vdi-", "/var/lib/containerd", "/var/lib/kubelet", "/run/containerd"];
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let mounts = mounts.lines().filter(|mount| paths.iter().any(|path| mount.contains(path)));
    traces.extend(mounts.map(str::to_owned));

    let directories = ["/etc/cni", "/opt", "/run", "/run/containerd/s", "/sys/class/net", "/var/lib", "/var/log"];
    let hierarchies = entries("/sys/fs/cgroup");
    let directories = directories.iter().map(PathBuf::from).chain(hierarchies);
    traces.extend(directories.flat_map(entries).map(|path| path.display().to_string()));

    // The machine's own firewall.
    for command in [["iptables-save", "-t", "filter"], ["ipset", "list", "-name"]] {
        let output = Command::new(command[0]).args(&command[1..]).output();
        let output = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        traces.extend(output.lines().filter(|line| line.contains("KUBE-")).map(str::to_owned));
    }

    for command in ["nft list tables", "ip -4 rule list", "ip -4 route list table all", "ip netns list"] {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        traces.extend(String::from_utf8_lossy(&output.stdout).lines().map(|line| format!("{command}: {line}")));
    }

    for key in [
        "kernel/panic",
        "kernel/panic_on_oops",
        "net/ipv4/ip_forward",
        "net/ipv4/conf/all/rp_filter",
        "vm/overcommit_memory",
    ] {
        let value = std::fs::read_to_string(Path::new("/proc/sys").join(key)).unwrap();
        traces.insert(format!("{key} = {value}"));
    }
    traces
}

/// What is in a directory; nothing where there is none.
fn entries(directory: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
