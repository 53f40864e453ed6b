//! Services: the API server's, and those of pods, with network policies.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::{Space, with_node};

/// Tells each client on port 8080 who it is connected to, and as whom.
pub const TELL: &str = "exec nc -ll -p 8080 -e sh -c 'echo \"I am $(hostname)\"; netstat -tn'";
const IDLE: &str = "exec sleep infinity";

fn cluster_ip(service: &Service) -> String {
    service.spec.clone().unwrap().cluster_ip.unwrap()
}

#[test]
fn a_pod_uses_the_api_server_as_its_service_account_by_what_every_pod_is_given() {
    with_node(async |shared| {
        let space = Space::new(shared, "api-server").await;
        let kubectl = shared.cluster.kubectl_path().parent().unwrap();
        let container = json!({
            "name": "main",
            "image": vdi_cluster::RealNode::BUSYBOX,
            "volumeMounts": [{"name": "kubectl", "mountPath": "/kubectl", "readOnly": true}],
        });
        let volumes = json!([{"name": "kubectl", "hostPath": {"path": kubectl, "type": "Directory"}}]);
        let spec = json!({"containers": [container], "volumes": volumes});
        space.run("client", json!({"metadata": {"name": "client"}, "spec": spec})).await;

        let whoami = space.exec_until("client", "/kubectl/kubectl auth whoami --output=yaml").await;
        assert!(whoami.contains("username: system:serviceaccount:api-server:default"), "{whoami}");
        let credentials = "/var/run/secrets/kubernetes.io/serviceaccount";
        for name in ["kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"] {
            let version = format!(
                "/kubectl/kubectl version --server=https://{name} --certificate-authority={credentials}/ca.crt \
                 --token=$(cat {credentials}/token)"
            );
            let version = space.exec_until("client", &version).await;
            assert!(version.contains("Server Version: v1."), "{version}");
        }
    });
}

#[test]
fn a_service_leads_to_its_pods_and_they_see_the_address_of_who_uses_it() {
    with_node(async |shared| {
        let space = Space::new(shared, "leads").await;
        let web = space.service("web", json!({"ports": [{"port": 80, "targetPort": 8080}]})).await;
        let address = cluster_ip(&web);
        let connect = format!("nc -w 3 {address} 80 </dev/null");

        // Without pods it refuses, so that nobody waits for what can't answer.
        let client = space.pod("client", json!({}), IDLE).await;
        let refused = space.exec("client", &format!("nc -w 10 {address} 80 </dev/null")).await.unwrap_err();
        assert!(refused.contains("Connection refused"), "{refused}");

        let first = space.pod("first", json!({"app": "web"}), TELL).await;
        let told = space.exec_until("client", &connect).await;
        assert!(told.contains("I am first") && told.contains(&format!(":{client}:")), "{told}");
        // A pod that uses a service which it is behind of itself.
        let told = space.exec_until("first", &connect).await;
        assert!(told.contains("I am first") && told.contains(&format!("{first}:8080")), "{told}");

        space.pod("second", json!({"app": "web"}), TELL).await;
        space.api::<Pod>().delete("first", &DeleteParams::default()).await.unwrap();
        for _ in 0..40 {
            if space.exec("client", &connect).await.is_ok_and(|told| told.contains("I am second")) {
                return;
            }
        }
        panic!("the second pod takes the place of the first");
    });
}

#[test]
fn this_machine_reaches_node_ports_at_the_nodes_address() {
    with_node(async |shared| {
        let space = Space::new(shared, "node-ports").await;
        for policy in ["Cluster", "Local"] {
            let name = policy.to_lowercase();
            let ports = json!([{"port": 80, "targetPort": 8080}]);
            let spec = json!({"type": "NodePort", "externalTrafficPolicy": policy, "ports": ports});
            let service = space.service(&name, spec).await;
            let port = service.spec.unwrap().ports.unwrap()[0].node_port.unwrap();
            space.pod(&name, json!({"app": name}), TELL).await;
            let told = connect_until(shared.node.address().to_string(), port as u16).await;
            assert!(told.contains(&format!("I am {name}")), "{told}");
        }
    });
}

/// What a port of this machine's networks tells, once it tells anything.
pub async fn connect_until(address: String, port: u16) -> String {
    let tell = async || {
        let mut connection = tokio::net::TcpStream::connect((address.as_str(), port)).await?;
        let mut told = String::new();
        connection.read_to_string(&mut told).await?;
        std::io::Result::Ok(told)
    };
    let mut last = None;
    for _ in 0..60 {
        match tokio::time::timeout(Duration::from_secs(3), tell()).await {
            Ok(Ok(told)) if !told.is_empty() => return told,
            other => last = Some(other),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("{address}:{port}: {last:?}");
}

/// A policy of the namespace's pods with these labels.
fn policy(name: &str, labels: Value, rules: Value) -> Value {
    let mut spec = rules;
    spec["podSelector"] = json!({"matchLabels": labels});
    json!({"metadata": {"name": name}, "spec": spec})
}

#[test]
fn network_policies_hold_for_who_comes_through_a_service() {
    with_node(async |shared| {
        let space = Space::new(shared, "policies").await;
        let web = cluster_ip(&space.service("web", json!({"ports": [{"port": 80, "targetPort": 8080}]})).await);
        let from = json!([{"from": [{"podSelector": {"matchLabels": {"may": "enter"}}}]}]);
        let rules = json!({"policyTypes": ["Ingress"], "ingress": from});
        space.create::<NetworkPolicy>(policy("web", json!({"app": "web"}), rules)).await;
        // As desktops have one: DNS, and nothing else of the cluster.
        let to = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]);
        let ports = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]);
        let rules = json!({"policyTypes": ["Egress"], "egress": [{"to": to, "ports": ports}]});
        space.create::<NetworkPolicy>(policy("fenced", json!({"is": "fenced"}), rules)).await;

        space.pod("web", json!({"app": "web"}), TELL).await;
        space.pod("guest", json!({"may": "enter"}), IDLE).await;
        space.pod("stranger", json!({}), IDLE).await;
        space.pod("fenced", json!({"may": "enter", "is": "fenced"}), IDLE).await;

        let connect = |address: &str, port: u16| format!("nc -w 3 {address} {port} </dev/null");
        space.exec_until("guest", &connect(&web, 80)).await;
        space.exec_until("fenced", "nslookup -type=a kubernetes.default.svc.cluster.local").await;
        for _ in 0..2 {
            assert!(space.exec("stranger", &connect(&web, 80)).await.is_err());
            assert!(space.exec("fenced", &connect(&web, 80)).await.is_err());
            assert!(space.exec("fenced", &connect("10.96.0.1", 443)).await.is_err());
            assert!(space.exec("stranger", &connect("10.96.0.1", 443)).await.is_ok());
            assert!(space.exec("guest", &connect(&web, 80)).await.unwrap().contains("I am web"));
        }
    });
}
