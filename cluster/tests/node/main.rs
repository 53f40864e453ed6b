//! What pods find on a real node: services, DNS, GPUs. It needs Linux and root. The tests share a node, and each has a namespace.

#![allow(clippy::unwrap_used)]

mod dns;
mod gpus;
mod load_balancer;
mod pulls;
mod services;

use std::sync::LazyLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::api::PostParams;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use vdi_cluster::{ControlPlane, RealNode, RealNodeOptions, User};

const TIMEOUT: Duration = Duration::from_secs(60);

struct Shared {
    cluster: ControlPlane,
    node: RealNode,
}

/// Runs a test on the shared node, which ends with the process.
fn with_node(test: impl AsyncFnOnce(&'static Shared)) {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    let can_run = cfg!(target_os = "linux") && vdi_cluster::is_root();
    assert!(can_run || std::env::var_os("CI").is_none(), "CI has to run this as root on Linux");
    if !can_run {
        eprintln!("skipped: a real node needs Linux and root");
        return;
    }
    RUNTIME.block_on(async {
        let start = async || {
            let cluster = ControlPlane::start(concat!(env!("CARGO_TARGET_TMPDIR"), "/node"), &[]).await.unwrap();
            let node = RealNode::start(&cluster, RealNodeOptions { gpus: 1, claimable_gpus: 1, ..Default::default() })
                .await
                .unwrap();
            Shared { cluster, node }
        };
        test(SHARED.get_or_init(start).await).await
    });
}

/// A namespace of a test.
struct Space {
    shared: &'static Shared,
    name: String,
}

impl Space {
    async fn new(shared: &'static Shared, name: &str) -> Self {
        let namespace = json!({"metadata": {"name": name}});
        let namespaces: Api<Namespace> = Api::all(shared.cluster.admin());
        namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
        Self { shared, name: name.to_owned() }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.shared.cluster.admin(), &self.name)
    }

    async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope> + Serialize + DeserializeOwned + Clone,
        K: std::fmt::Debug,
        K::DynamicType: Default,
    {
        self.api::<K>().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    /// Runs a pod of busybox with these labels until it's Ready, and returns its address.
    async fn pod(&self, name: &str, labels: Value, script: &str) -> String {
        let container = json!({"name": "main", "image": RealNode::BUSYBOX, "command": ["/bin/sh", "-c", script]});
        self.run(name, json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}})).await
    }

    /// Runs any pod until it's Ready, and returns its address.
    async fn run(&self, name: &str, mut pod: Value) -> String {
        pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
        self.create::<Pod>(pod).await;
        self.ready(name).await
    }

    /// Waits until a pod is Ready, and returns its address.
    async fn ready(&self, name: &str) -> String {
        let pods = self.api::<Pod>();
        let ready = await_condition(pods.clone(), name, conditions::is_pod_running());
        let ready = tokio::time::timeout(TIMEOUT, ready).await;
        let pod = pods.get(name).await.unwrap();
        assert!(ready.is_ok(), "{:?}", pod.status);
        pod.status.unwrap().pod_ip.unwrap()
    }

    /// What happens in time.
    async fn within<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::time::timeout(TIMEOUT, work).await.expect("it happens in time")
    }

    /// A shell's command in a pod: its output, or the error.
    async fn exec(&self, pod: &str, command: &str) -> Result<String, String> {
        let arguments = ["exec", "--namespace", &self.name, pod, "--", "sh", "-c", command];
        let output = self.shared.cluster.kubectl(&User::admin(), arguments).unwrap().output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stdout) + &text(output.stderr)) }
    }

    /// The same, repeated until it succeeds: rules and endpoints follow with a delay.
    async fn exec_until(&self, pod: &str, command: &str) -> String {
        let mut last = String::new();
        for _ in 0..60 {
            match self.exec(pod, command).await {
                Ok(output) => return output,
                Err(error) => last = error,
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("{pod}: {command}: {last}");
    }

    /// Creates a Service for the pods with the label `app: NAME`.
    async fn service(&self, name: &str, mut spec: Value) -> Service {
        spec["selector"] = json!({"app": name});
        self.create(json!({"metadata": {"name": name}, "spec": spec})).await
    }
}
