//! Services of type LoadBalancer.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;
use tokio::net::TcpStream;
use vdi_cluster::LoadBalancer;

use crate::services::{TELL, connect_until};
use crate::{Space, with_node};

fn is_at_loopback(service: Option<&Service>) -> bool {
    let balancer = service.and_then(|service| service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref());
    balancer.is_some_and(|ingress| ingress[0].ip.as_deref() == Some("127.0.0.1"))
}

#[test]
fn a_load_balancer_leads_to_pods_that_are_ready_while_they_and_their_service_come_and_go() {
    with_node(async |shared| {
        let space = Space::new(shared, "balanced").await;
        let port = vdi_cluster::free_port().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let start = async || LoadBalancer::start(&shared.cluster, &shared.node, "balanced", "web", 443, address).await;
        let balancer = start().await.unwrap();
        assert!(start().await.is_err_and(|error| error.to_string().contains("in use")), "the address is taken");
        let reaches = async |pod: &str| {
            for _ in 0..60 {
                if connect_until("127.0.0.1".into(), port).await.contains(&format!("I am {pod}\n")) {
                    return;
                }
            }
            panic!("connections lead to {pod}");
        };

        let ports = json!([{"name": "other", "port": 80}, {"name": "https", "port": 443, "targetPort": 8080}]);
        let spec = json!({"type": "LoadBalancer", "ports": ports});
        let services = space.api::<Service>();
        for pod in ["first", "second"] {
            space.service("web", spec.clone()).await;
            space.within(await_condition(services.clone(), "web", is_at_loopback)).await.unwrap();
            space.pod(pod, json!({"app": "web"}), TELL).await;
            reaches(pod).await;
            space.api::<Pod>().delete(pod, &DeleteParams::default()).await.unwrap();
            space.pod(&format!("{pod}-new"), json!({"app": "web"}), TELL).await;
            reaches(&format!("{pod}-new")).await;
            // Who else writes the status doesn't keep it.
            let emptied = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}));
            services.patch_status("web", &PatchParams::default(), &emptied).await.unwrap();
            space.within(await_condition(services.clone(), "web", is_at_loopback)).await.unwrap();
            services.delete("web", &DeleteParams::default()).await.unwrap();
            space.api::<Pod>().delete(&format!("{pod}-new"), &DeleteParams::default()).await.unwrap();
        }

        drop(balancer);
        let refuses = async || {
            while TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        space.within(refuses()).await;
    });
}
