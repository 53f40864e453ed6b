//! A load balancer for Services, as clouds have them: an address of this machine that leads to a Service's node port.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::control_plane::ControlPlane;
use crate::error::Error;
use crate::forwarder::Forwarder;
use crate::real::RealNode;

/// Serves one port of a Service of type LoadBalancer at an address of this machine, until it is dropped.
///
/// Connections go through the node's kube-proxy, so each new one reaches a pod that is ready. While there is no such Service,
/// they end at once.
#[derive(Debug)]
pub struct LoadBalancer {
    _forwarder: Forwarder,
    follower: AbortHandle,
}

impl LoadBalancer {
    /// Listens at `address` and follows the Service, which may be created later, change and be deleted. Its status says that it
    /// is at that IP address, which is what `helm install --wait` waits for.
    ///
    /// # Errors
    /// When the address is in use.
    pub async fn start(
        cluster: &ControlPlane,
        node: &RealNode,
        namespace: &str,
        service: &str,
        port: u16,
        address: SocketAddr,
    ) -> Result<Self, Error> {
        let (sender, target) = watch::channel(None);
        let forwarder = Forwarder::start(address, target).await?;
        let services = Api::namespaced(cluster.admin(), namespace);
        let follow = follow(services, service.to_owned(), port, node.address(), address, sender);
        Ok(Self { _forwarder: forwarder, follower: tokio::spawn(follow).abort_handle() })
    }
}

impl Drop for LoadBalancer {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

async fn follow(
    services: Api<Service>,
    name: String,
    port: u16,
    node: Ipv4Addr,
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
) {
    let mut changes = pin!(watcher::watch_object(services.clone(), &name).default_backoff());
    while let Some(change) = changes.next().await {
        // A watch that ends starts again by itself; until then the Service is taken to be what it was.
        let Ok(service) = change else { continue };
        let balanced = service.filter(is_balanced);
        target.send_replace(
            balanced.as_ref().and_then(|service| node_port(service, port)).map(|port| (node, port).into()),
        );
        let status = ingress(address);
        if let Some(service) = balanced.filter(|service| has_other_status(service, &status)) {
            let patch = Patch::Merge(json!({"status": {"loadBalancer": status}}));
            // The next change tries again.
            if let Err(error) = services.patch_status(&name, &PatchParams::default(), &patch).await {
                eprintln!("the load balancer of {}: {error}", service.name_any());
            }
        }
    }
}

fn is_balanced(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"))
}

fn node_port(service: &Service, port: u16) -> Option<u16> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    ports.iter().find(|entry| entry.port == i32::from(port))?.node_port?.try_into().ok()
}

/// The status of a Service behind an address. Pods that use this address aren't sent straight to the Service, since the same
/// address is their own loopback (`ipMode`).
fn ingress(address: SocketAddr) -> Value {
    json!({"ingress": [{"ip": address.ip(), "ipMode": "Proxy"}]})
}

fn has_other_status(service: &Service, status: &Value) -> bool {
    let current = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    serde_json::to_value(current).is_ok_and(|current| current != *status)
}
