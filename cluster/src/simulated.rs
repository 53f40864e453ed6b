//! Nodes that only exist in the API: KWOK reports them, and the pods on them, as running.

use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::binaries::Program;
use crate::control_plane::ControlPlane;
use crate::error::{Error, KubeContext};
use crate::files::write_private;
use crate::guard::{Launch, Server};
use crate::progress;
use crate::servers::flag;
use crate::users::User;
use crate::wait::until_ready;

const CONFIG: &str = concat!(
    include_str!("../kwok/config.yaml"),
    "---\n",
    include_str!("../kwok/node.yaml"),
    "---\n",
    include_str!("../kwok/pod.yaml")
);

/// How long nodes may take to become Ready, in seconds.
const READY_SECONDS: u64 = 60;

/// Nodes on which pods become Ready at once, without running anything. They have the label
/// [`SimulatedNodes::LABEL`], 64 CPUs, 256 GiB of memory, 4 TiB of disk and room for 250 pods each.
#[derive(Debug)]
pub struct SimulatedNodes {
    kwok: Server,
    nodes: Api<Node>,
    gpus_per_node: u32,
    created: usize,
}

impl SimulatedNodes {
    /// The label for node selectors; its value is `true`.
    pub const LABEL: &str = "vdi.kasm.io/simulated";

    /// Adds `count` nodes with `gpus_per_node` of the extended resource `nvidia.com/gpu` each, and waits until pods
    /// can be scheduled to all of them.
    pub async fn start(cluster: &ControlPlane, count: usize, gpus_per_node: u32) -> Result<Self, Error> {
        let program = Program::Kwok.ensure().await?;
        let config = cluster.files().data().join("kwok.yaml");
        write_private(&config, CONFIG)?;
        let kubeconfig = cluster.kubeconfig(&User::kwok())?;
        let launch = Launch {
            arguments: vec![flag("config", config), flag("kubeconfig", kubeconfig), flag("v", "WARN")],
            ..Launch::new("kwok", &program)
        };
        let kwok = Server::start(&cluster.logs(), launch)?;
        let mut simulated = Self { kwok, nodes: Api::all(cluster.admin()), gpus_per_node, created: 0 };
        progress::step(&format!("Simulating {count} nodes with {gpus_per_node} GPUs each"), async {
            for _ in 0..count {
                simulated.create().await?;
            }
            simulated.wait().await
        })
        .await?;
        Ok(simulated)
    }

    /// Adds a node, waits until pods can be scheduled to it and returns its name.
    pub async fn add(&mut self) -> Result<String, Error> {
        let name = self.create().await?;
        self.wait().await?;
        Ok(name)
    }

    /// The KWOK server.
    pub fn server(&self) -> &Server {
        &self.kwok
    }

    /// Deletes a node, as if its machine were gone. The control plane deletes its pods about a minute later.
    pub async fn delete(&mut self, name: &str) -> Result<(), Error> {
        let deleted = self.nodes.delete(name, &DeleteParams::default()).await;
        deleted.map(drop).context(format!("deleting the simulated node {name}"))
    }

    async fn create(&mut self) -> Result<String, Error> {
        let name = format!("simulated-{}", self.created);
        let gpus = self.gpus_per_node.to_string();
        let resources =
            json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "4Ti", "pods": "250", "nvidia.com/gpu": gpus});
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    Self::LABEL: "true",
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                },
            },
            "status": {"capacity": resources, "allocatable": resources},
        });
        let node = serde_json::from_value(node).map_err(kube::Error::SerdeError);
        let action = || format!("creating the simulated node {name}");
        self.nodes.create(&PostParams::default(), &node.context(action())?).await.context(action())?;
        self.created += 1;
        Ok(name)
    }

    async fn wait(&mut self) -> Result<(), Error> {
        let ours = ListParams::default().labels(&format!("{}=true", Self::LABEL));
        let nodes = &self.nodes;
        until_ready(&mut self.kwok, &mut [], READY_SECONDS, async || {
            let list = nodes.list(&ours).await.map_err(|error| error.to_string())?;
            match list.iter().find(|node| !is_schedulable(node)) {
                None => Ok(()),
                Some(node) => Err(format!("node {} is not Ready", node.name_any())),
            }
        })
        .await
    }
}

/// Whether a node is Ready and has lost the taints of one that is not.
pub(crate) fn is_schedulable(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = |condition: &k8s_openapi::api::core::v1::NodeCondition| {
        condition.type_ == "Ready" && condition.status == "True"
    };
    let tainted = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_some_and(|taints| !taints.is_empty());
    !tainted && conditions.is_some_and(|conditions| conditions.iter().any(ready))
}
