//! A node that runs containers: containerd and a kubelet on this machine, isolated from everything else on it.

mod configuration;
mod firewall;
mod network;

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::process::Command;

use self::network::Network;
use crate::binaries::Program;
use crate::command::run;
use crate::control_plane::ControlPlane;
use crate::error::{Error, KubeContext};
use crate::guard::{Launch, Server};
use crate::privileges::is_root;
use crate::simulated::is_schedulable;
use crate::wait::until_ready;
use crate::{packages, progress};

const READY_SECONDS: u64 = 60;

/// The options of a real node.
#[derive(Debug, Clone, Default)]
pub struct RealNodeOptions {
    /// How much of the extended resource `nvidia.com/gpu` the node advertises. It is only counted: containers get no device, so
    /// no GPU is needed.
    pub gpus: u32,
    /// Image archives, OCI or `docker save`, that are imported before pods can be scheduled. A node pulls nothing, so
    /// pods that use them must not have the pull policy Always.
    pub images: Vec<PathBuf>,
}

/// A node where pods really run, in their own subnet, which this machine can reach. Dropping it kills them and removes
/// everything that it added to the machine; this also happens when the process that owns it is killed.
///
/// There is no kube-proxy and no DNS: pods are reached by their addresses. kube-router enforces network policies; the processes
/// of this machine reach every pod, as a node's own do.
#[derive(Debug)]
pub struct RealNode {
    server: Server,
    name: String,
    /// containerd's.
    socket: PathBuf,
}

impl RealNode {
    /// The busybox image, which every real node has, for tests.
    pub const BUSYBOX: &str = configuration::BUSYBOX;

    /// Adds a node and waits until pods can be scheduled to it. Needs Linux and root; Debian packages that are missing
    /// are installed. Its logs are `containerd.log`, `kubelet.log` and `kube-router.log` in [`ControlPlane::logs`].
    pub async fn start(cluster: &ControlPlane, options: RealNodeOptions) -> Result<Self, Error> {
        if !cfg!(target_os = "linux") {
            return Err(Error::Unsupported("a real node needs Linux"));
        }
        if !is_root() {
            return Err(Error::NotRoot { what: "A real node needs namespaces and mounts".into() });
        }
        ensure_packages().await?;
        let kubelet = Program::Kubelet.ensure().await?;
        let kube_router = Program::KubeRouter.ensure().await?;
        progress::step("Starting a real node", async {
            let mut node = Self::start_server(cluster, &kubelet, &kube_router, options.gpus).await?;
            for image in &options.images {
                node.import(image).await?;
            }
            node.open(cluster).await?;
            Ok(node)
        })
        .await
    }

    /// The name of the Node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Imports an image archive, OCI or `docker save`.
    pub async fn import(&self, archive: &Path) -> Result<(), Error> {
        let mut import = ctr(&self.socket);
        import.args(["images", "import"]).arg(archive);
        progress::step(&format!("Importing {}", archive.display()), run(import)).await.map(drop)
    }

    /// Starts containerd and the kubelet, and imports the image that every pod needs.
    async fn start_server(
        cluster: &ControlPlane,
        kubelet: &Path,
        kube_router: &Path,
        gpus: u32,
    ) -> Result<Self, Error> {
        let network = Network::reserve().await?;
        let registered = async {
            firewall::authorize(cluster).await?;
            register(cluster, &network, gpus).await
        };
        if let Err(error) = registered.await {
            network.release().await;
            return Err(error);
        }
        let state = cluster.files().directory.join(&network.name);
        // Not below `state`, because the path of a socket can't be longer than 107 bytes, unix(7).
        let runtime = Path::new("/run").join(&network.name);
        let start = || {
            configuration::write(cluster, &network, &state, &runtime)?;
            let unshare = ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", include_str!("node.sh"), "node"];
            let launch = Launch {
                arguments: unshare.map(Into::into).to_vec(),
                environment: vec![
                    ("NODE", network.name.clone().into()),
                    ("ADDRESS", network.address().to_string().into()),
                    ("BRIDGE", network.bridge_address().to_string().into()),
                    ("STATE", state.clone().into()),
                    ("RUN", runtime.clone().into()),
                    ("LOGS", cluster.logs().into()),
                    ("KUBELET", kubelet.into()),
                    ("KUBE_ROUTER", kube_router.into()),
                ],
                // The first process of the namespace, because `unshare` itself ignores SIGTERM.
                stop: r#"kill -KILL "$(cat "$RUN/pid")""#,
                cleanup: include_str!("cleanup.sh"),
                ..Launch::new("kubelet", Path::new("unshare"))
            };
            Server::start(&cluster.logs(), launch)
        };
        let mut server = match start() {
            Ok(server) => server,
            Err(error) => {
                network.release().await;
                return Err(error);
            }
        };
        let socket = runtime.join("containerd/containerd.sock");
        until_ready(&mut server, &mut [], READY_SECONDS, async || {
            let mut version = ctr(&socket);
            version.arg("version");
            run(version).await.map_err(|error| error.to_string())
        })
        .await?;
        let mut busybox = Command::new("sh");
        busybox.args(["-c", include_str!("busybox.sh"), "busybox", Self::BUSYBOX]).arg(&state);
        run(busybox).await?;
        let node = Self { server, name: network.name, socket };
        node.import(&state.join("busybox.tar")).await?;
        Ok(node)
    }

    /// Makes the node schedulable, and waits until pods can be scheduled to it.
    async fn open(&mut self, cluster: &ControlPlane) -> Result<(), Error> {
        let nodes: Api<Node> = Api::all(cluster.admin());
        let schedulable = Patch::Merge(json!({"spec": {"unschedulable": null}}));
        let action = || format!("making the node {} schedulable", self.name);
        nodes.patch(&self.name, &PatchParams::default(), &schedulable).await.context(action())?;
        until_ready(&mut self.server, &mut [], READY_SECONDS, async || {
            let node = nodes.get(&self.name).await.map_err(|error| error.to_string())?;
            if is_schedulable(&node) { Ok(()) } else { Err(format!("node {} is not Ready", self.name)) }
        })
        .await
    }
}

/// Creates the Node before the kubelet looks for it, which would back off each time that it doesn't exist. It is unschedulable,
/// because the images aren't imported yet.
async fn register(cluster: &ControlPlane, network: &Network, gpus: u32) -> Result<(), Error> {
    let name = &network.name;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    // The kubelet adds the machine's resources, and keeps these. The firewall, which starts earlier, needs the address.
    let resources = json!({"nvidia.com/gpu": gpus.to_string()});
    let node = json!({
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/arch": architecture,
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
            },
        },
        "spec": {"unschedulable": true},
        "status": {
            "addresses": [{"type": "InternalIP", "address": network.address()}],
            "capacity": resources,
            "allocatable": resources,
        },
    });
    let action = || format!("creating the node {name}");
    let node: Node = serde_json::from_value(node).map_err(kube::Error::SerdeError).context(action())?;
    Api::all(cluster.admin()).create(&PostParams::default(), &node).await.context(action()).map(drop)
}

/// containerd's client, in the namespace that the kubelet uses.
fn ctr(socket: &Path) -> Command {
    let mut ctr = Command::new("ctr");
    ctr.arg("--address").arg(socket).args(["--namespace", "k8s.io"]);
    ctr
}

/// Looks for programs in PATH, because they may come from other packages: Docker's containerd.io provides two of these.
async fn ensure_packages() -> Result<(), Error> {
    let mut missing = Vec::new();
    for (program, package) in [
        ("containerd", "containerd"),
        ("runc", "runc"),
        ("busybox", "busybox-static"),
        ("ip", "iproute2"),
        ("iptables", "iptables"),
        ("ipset", "ipset"),
    ] {
        if !is_in_path(program) {
            missing.push(package);
        }
    }
    if configuration::cni_plugins().is_none() {
        missing.push("containernetworking-plugins");
    }
    packages::ensure(&missing).await
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
