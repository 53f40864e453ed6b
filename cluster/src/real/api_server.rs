//! The API server as the service `kubernetes`: pods reach it at an address of their node.

use std::net::SocketAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;

use super::network::Network;
use crate::control_plane::ControlPlane;
use crate::error::{Error, KubeContext};
use crate::forwarder::Forwarder;

/// The usual port of an API server.
const PORT: u16 = 6443;

/// Where the node's own processes reach the API server from the pods' network.
pub(super) fn url(network: &Network) -> String {
    format!("https://{}:{PORT}", network.api_server())
}

/// Serves the API server, which listens on loopback alone, to the pods of a node, until the result is dropped.
pub(super) async fn expose(cluster: &ControlPlane, network: &Network) -> Result<Forwarder, Error> {
    let address = network.api_server();
    // What the API server would write itself, if it weren't told to leave its own address alone (endpoint-reconciler-type).
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
    });
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.admin(), "default");
    let params = PatchParams::apply("vdi-cluster");
    let action = "writing the endpoints of the service kubernetes";
    slices.patch("kubernetes", &params, &Patch::Apply(endpoints)).await.context(action)?;
    // Its target never changes.
    let (_, target) = watch::channel(Some(cluster.address()));
    Forwarder::start(SocketAddr::from((address, PORT)), target).await
}
