//! A control plane with simulated nodes. The first run on a machine builds the programs, which takes minutes.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::{Value, json};
use vdi_cluster::{ControlPlane, Error, SimulatedNodes, User};

#[tokio::test]
async fn each_user_is_seen_with_their_name_and_groups() {
    let directory = tempfile::tempdir().unwrap();
    let alice = User::new("alice@example.com", ["vdi-users", "designers"]);
    let controller = User::service_account("vdi-system", "controller");
    let cluster = ControlPlane::start(directory.path(), &[alice.clone(), controller.clone()]).await.unwrap();

    for user in [&alice, &controller] {
        let mut whoami = cluster.kubectl(user, ["auth", "whoami", "--output=json"]).unwrap();
        let output = whoami.output().await.unwrap();
        let review: Value = serde_json::from_slice(&output.stdout).unwrap();
        let info = &review["status"]["userInfo"];
        assert_eq!(info["username"], *user.name);
        for group in &user.groups {
            assert!(info["groups"].as_array().unwrap().contains(&json!(group)), "{info}");
        }
    }

    let denied = Api::<Namespace>::all(cluster.client(&alice).await.unwrap()).list(&ListParams::default()).await;
    assert!(matches!(&denied, Err(kube::Error::Api(status)) if status.code == 403), "{denied:?}");
    let audited = std::fs::read_to_string(cluster.audit_log()).unwrap();
    let audited = audited.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_alice = |event: &Value| event["user"]["username"] == "alice@example.com";
    let verbs: Vec<_> = audited.filter(of_alice).map(|event| event["verb"].clone()).collect();
    assert_eq!(verbs, ["create", "list"], "kubectl's review of itself, then the list");

    let stranger = cluster.client(&User::new("mallory", ["system:masters"])).await;
    assert!(matches!(stranger, Err(Error::UnknownUser { .. })));
}

#[tokio::test]
async fn two_clusters_at_once_do_not_see_each_other() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one, other) = tokio::try_join!(
        ControlPlane::start(directories[0].path(), &[]),
        ControlPlane::start(directories[1].path(), &[]),
    )
    .unwrap();

    let namespace = serde_json::from_value(json!({"metadata": {"name": "only-here"}})).unwrap();
    Api::<Namespace>::all(one.admin()).create(&PostParams::default(), &namespace).await.unwrap();
    assert!(Api::<Namespace>::all(other.admin()).get_opt("only-here").await.unwrap().is_none());
}

#[tokio::test]
async fn pods_run_on_simulated_nodes_as_far_as_their_gpus_go() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = ControlPlane::start(directory.path(), &[]).await.unwrap();
    let mut nodes = SimulatedNodes::start(&cluster, 1, 2).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(cluster.admin());

    create_pod(&pods, "first", 1).await;
    create_pod(&pods, "second", 1).await;
    ready(&pods, "first").await;
    ready(&pods, "second").await;
    let first = pods.get("first").await.unwrap();
    assert!(first.status.unwrap().pod_ip.unwrap().starts_with("127."));

    create_pod(&pods, "third", 2).await;
    let unschedulable = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|list| list.iter().any(|one| one.reason.as_deref() == Some("Unschedulable")))
    };
    within(30, await_condition(pods.clone(), "third", unschedulable)).await.unwrap();
    let added = nodes.add().await.unwrap();
    ready(&pods, "third").await;
    assert_eq!(pods.get("third").await.unwrap().spec.unwrap().node_name.as_deref(), Some(&*added));

    let uid = pods.get("first").await.unwrap().metadata.uid.unwrap();
    pods.delete("first", &DeleteParams::default()).await.unwrap();
    within(30, await_condition(pods.clone(), "first", conditions::is_deleted(&uid))).await.unwrap();

    nodes.delete(&added).await.unwrap();
    assert!(Api::<Node>::all(cluster.admin()).get_opt(&added).await.unwrap().is_none());
}

#[tokio::test]
async fn a_directory_has_one_cluster_at_a_time_and_keeps_only_logs() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let cluster = ControlPlane::start(directory.path(), &[]).await.unwrap();
        let kubeconfig = cluster.kubeconfig(&User::admin()).unwrap();
        assert!(kubeconfig.exists());
        drop(cluster);
        assert_eq!(servers_in(directory.path()), Vec::<PathBuf>::new());
        assert!(!kubeconfig.exists());
        assert!(directory.path().join("logs/kube-apiserver.log").exists());
    }
}

#[tokio::test]
async fn servers_that_crash_come_back_with_their_data() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = ControlPlane::start(directory.path(), &[]).await.unwrap();
    let [etcd, apiserver, ..] = cluster.servers();
    let namespaces: Api<Namespace> = Api::all(cluster.admin());
    for (name, server) in [("before-etcd", etcd), ("before-the-api-server", apiserver)] {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let before = server.pid().unwrap();
        server.crash(1).unwrap();
        until(30, || server.pid().is_some_and(|pid| pid != before)).await;
        within(60, async {
            while namespaces.get_opt(name).await.ok().flatten().is_none() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }
    drop(cluster);
    assert_eq!(servers_in(directory.path()), Vec::<PathBuf>::new());
    assert!(!directory.path().join("data").exists());
}

#[tokio::test]
async fn servers_die_when_their_owner_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_that_is_killed", "--ignored", "--nocapture"])
        .env("CLUSTER_DIRECTORY", directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until(120, || directory.path().join("data/started").exists()).await;
    assert_eq!(servers_in(directory.path()).len(), 5, "{:?}", servers_in(directory.path()));

    owner.kill().unwrap();
    owner.wait().unwrap();
    until(30, || servers_in(directory.path()).is_empty() && !directory.path().join("data").exists()).await;
}

#[tokio::test]
#[ignore = "a process that another test starts and kills"]
async fn owner_that_is_killed() {
    let directory = PathBuf::from(std::env::var_os("CLUSTER_DIRECTORY").unwrap());
    let cluster = ControlPlane::start(&directory, &[]).await.unwrap();
    let _nodes = SimulatedNodes::start(&cluster, 1, 1).await.unwrap();
    std::fs::write(directory.join("data/started"), "").unwrap();
    std::future::pending::<()>().await;
}

async fn create_pod(pods: &Api<Pod>, name: &str, gpus: u32) {
    let resources = json!({"limits": {"nvidia.com/gpu": gpus.to_string()}});
    let container = json!({"name": "main", "image": "example.com/none", "resources": resources});
    let pod = json!({"metadata": {"name": name}, "spec": {"containers": [container]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
}

async fn ready(pods: &Api<Pod>, name: &str) {
    within(30, await_condition(pods.clone(), name, conditions::is_pod_running())).await.unwrap();
}

async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), work).await.expect("the condition comes in time")
}

async fn until(seconds: u64, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition comes in time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The programs that run with this directory in their arguments, except for the guards.
fn servers_in(directory: &Path) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let runs_there = |process: &PathBuf| {
        let arguments = std::fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&*directory.to_string_lossy())
    };
    let program = |process: PathBuf| std::fs::read_link(process.join("exe")).ok();
    let programs = processes.filter(runs_there).filter_map(program);
    programs.filter(|program| !program.ends_with("dash") && !program.ends_with("bash")).collect()
}
