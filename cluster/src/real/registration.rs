//! The Node object, from before the kubelet's start until pods can be scheduled to it.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::network::Network;
use crate::control_plane::ControlPlane;
use crate::error::{Error, KubeContext};
use crate::guard::Server;
use crate::simulated::is_schedulable;
use crate::wait::until_ready;

const READY_SECONDS: u64 = 60;

/// Creates the Node before the kubelet looks for it, which would back off each time that it doesn't exist. It is unschedulable,
/// because the images aren't imported yet.
pub(super) async fn register(cluster: &ControlPlane, network: &Network) -> Result<(), Error> {
    let name = &network.name;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
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
        // kube-proxy and the firewall, which start earlier than the kubelet, need the address.
        "status": {"addresses": [{"type": "InternalIP", "address": network.address()}]},
    });
    let action = || format!("creating the node {name}");
    let node: Node = serde_json::from_value(node).map_err(kube::Error::SerdeError).context(action())?;
    Api::all(cluster.admin()).create(&PostParams::default(), &node).await.context(action()).map(drop)
}

/// Makes a node schedulable, and waits until pods can be scheduled to it and it offers its GPUs.
pub(super) async fn open(cluster: &ControlPlane, kubelet: &mut Server, name: &str, gpus: u32) -> Result<(), Error> {
    let nodes: Api<Node> = Api::all(cluster.admin());
    let schedulable = Patch::Merge(json!({"spec": {"unschedulable": null}}));
    let action = || format!("making the node {name} schedulable");
    nodes.patch(name, &PatchParams::default(), &schedulable).await.context(action())?;
    until_ready(kubelet, &mut [], READY_SECONDS, async || {
        let node = nodes.get(name).await.map_err(|error| error.to_string())?;
        if !is_schedulable(&node) {
            return Err(format!("node {name} is not Ready"));
        }
        let offered = offered_gpus(&node);
        if offered == gpus.to_string() { Ok(()) } else { Err(format!("the node offers {offered} of {gpus} GPUs")) }
    })
    .await
}

/// How many GPUs can be given to pods.
fn offered_gpus(node: &Node) -> &str {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    allocatable.and_then(|resources| resources.get("nvidia.com/gpu")).map_or("0", |quantity| &quantity.0)
}
