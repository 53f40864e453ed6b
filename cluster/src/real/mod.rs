//! A node that runs containers: containerd and a kubelet on this machine, isolated from everything else on it.

mod api_server;
mod configuration;
mod containerd;
mod dns;
mod firewall;
mod images;
mod network;
mod registration;

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use self::containerd::Containerd;
use self::network::Network;
use crate::binaries::Program;
use crate::control_plane::ControlPlane;
use crate::error::Error;
use crate::forwarder::Forwarder;
use crate::guard::{Launch, Server};
use crate::privileges::is_root;
use crate::wait::until_ready;
use crate::{packages, progress};

const READY_SECONDS: u64 = 60;

/// The options of a real node.
#[derive(Debug, Clone, Default)]
pub struct RealNodeOptions {
    /// How many `nvidia.com/gpu` a device plugin offers. No GPU is needed: containers get /dev/nvidia0 and so on, which are
    /// /dev/null, and their numbers in `NVIDIA_VISIBLE_DEVICES`.
    pub gpus: u32,
    /// How many GPUs the DRA driver `gpu.example.com` publishes, for resource claims. Containers get an environment variable for
    /// each, `claim_<claim>_<request>=true`. The device class is for who claims one to create.
    pub claimable_gpus: u32,
    /// Image archives, OCI or `docker save`, that are imported before pods can be scheduled. Pods that use them must not have
    /// the pull policy Always. Other images are pulled from registries on loopback, and from nowhere else.
    pub images: Vec<PathBuf>,
}

/// A node where pods really run, in their own subnet, which this machine can reach. Dropping it kills them and removes
/// everything that it added to the machine; this also happens when the process that owns it is killed.
///
/// kube-proxy serves Services to pods, among them `kubernetes`, the API server, and `kube-dns`. kube-router enforces network
/// policies; the processes of this machine reach every pod, as a node's own do, and node ports at [`RealNode::address`]. Pods of
/// different nodes don't reach each other.
#[derive(Debug)]
pub struct RealNode {
    server: Server,
    name: String,
    address: Ipv4Addr,
    containerd: Containerd,
    _api_server: Forwarder,
}

/// The programs of a node's own processes.
const PROGRAMS: [Program; 7] = [
    Program::Containerd,
    Program::ContainerdShim,
    Program::DevicePlugin,
    Program::DraDriver,
    Program::KubeProxy,
    Program::KubeRouter,
    Program::Kubelet,
];

impl RealNode {
    /// The busybox image, which every real node has, for tests.
    pub const BUSYBOX: &str = images::BUSYBOX;

    /// Adds a node and waits until pods can be scheduled to it; DNS may take a few seconds more. Needs Linux and root; Debian
    /// packages that are missing are installed. Its logs are `containerd.log`, `kubelet.log`, `kube-proxy.log`,
    /// `kube-router.log`, `device-plugin.log` and `dra-driver.log` in [`ControlPlane::logs`].
    pub async fn start(cluster: &ControlPlane, options: RealNodeOptions) -> Result<Self, Error> {
        if !cfg!(target_os = "linux") {
            return Err(Error::Unsupported("a real node needs Linux"));
        }
        if !is_root() {
            return Err(Error::NotRoot { what: "A real node needs namespaces and mounts".into() });
        }
        ensure_packages().await?;
        let mut programs = Vec::new();
        for program in PROGRAMS {
            programs.push(program.ensure().await?);
        }
        let ctr = Program::Ctr.ensure().await?;
        let coredns = Program::CoreDns.ensure().await?;
        progress::step("Starting a real node", async {
            let (mut node, state) = Self::start_server(cluster, &programs, ctr, &options).await?;
            let images = async {
                node.import(&images::busybox(&state.join("busybox")).await?).await?;
                node.import(&images::coredns(&coredns, &state.join("coredns")).await?).await?;
                for image in &options.images {
                    node.import(image).await?;
                }
                Ok(())
            };
            tokio::try_join!(images, dns::deploy(cluster, &node.name, &state))?;
            registration::open(cluster, &mut node.server, &node.name, options.gpus).await?;
            Ok(node)
        })
        .await
    }

    /// The name of the Node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where this machine reaches the node ports of Services.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Imports an image archive, OCI or `docker save`.
    pub async fn import(&self, archive: &Path) -> Result<(), Error> {
        progress::step(&format!("Importing {}", archive.display()), self.containerd.import(archive)).await
    }

    /// Starts containerd, the kubelet and what belongs to them, and returns the node with its directory.
    async fn start_server(
        cluster: &ControlPlane,
        programs: &[PathBuf],
        ctr: PathBuf,
        options: &RealNodeOptions,
    ) -> Result<(Self, PathBuf), Error> {
        let network = Network::reserve().await?;
        let prepared = async {
            firewall::authorize(cluster).await?;
            registration::register(cluster, &network).await?;
            api_server::expose(cluster, &network).await
        };
        let api_server = match prepared.await {
            Ok(api_server) => api_server,
            Err(error) => {
                network.release().await;
                return Err(error);
            }
        };
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
                    ("WORLD", network.world().to_string().into()),
                    ("GPUS", options.gpus.to_string().into()),
                    ("CLAIMED", options.claimable_gpus.to_string().into()),
                    ("STATE", state.clone().into()),
                    ("RUN", runtime.clone().into()),
                    ("LOGS", cluster.logs().into()),
                    ("PROGRAMS", lines(programs)),
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
        let containerd = Containerd { ctr, socket: runtime.join("containerd/containerd.sock") };
        let check = async || containerd.check().await.map_err(|error| error.to_string());
        until_ready(&mut server, &mut [], READY_SECONDS, check).await?;
        let address = network.bridge_address();
        Ok((Self { server, name: network.name, address, containerd, _api_server: api_server }, state))
    }
}

/// The paths, one a line.
fn lines(paths: &[PathBuf]) -> OsString {
    paths.iter().map(|path| path.as_os_str()).collect::<Vec<_>>().join(OsStr::new("\n"))
}

/// Looks for programs in PATH, because they may come from other packages: Docker's containerd.io has runc.
async fn ensure_packages() -> Result<(), Error> {
    let mut missing = Vec::new();
    for (program, package) in [
        ("runc", "runc"),
        ("busybox", "busybox-static"),
        ("ip", "iproute2"),
        ("iptables", "iptables"),
        ("ipset", "ipset"),
        ("nft", "nftables"),
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
