use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::api::ObjectMeta;
use vdi_api::Reachable;

use super::{SESSION_LABEL, SESSION_UID_LABEL, labels, own_name, owner, pod::DESKTOP, strings};
use crate::{observe::Observed, template::Template};

/// The name of the policy that all desktops of a namespace are under.
pub const NAMESPACE_POLICY: &str = "vdi-desktops";

/// What is not the world: [private], shared, link-local (the metadata service of clouds), loopback and multicast addresses.
///
/// [private]: https://www.iana.org/assignments/iana-ipv4-special-registry/iana-ipv4-special-registry.xhtml
const NOT_THE_WORLD: [&str; 9] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
];
/// Only [global unicast] is the world, without unique local and NAT64 addresses, through which IPv4 would be reached.
///
/// [global unicast]: https://www.iana.org/assignments/ipv6-address-space/ipv6-address-space.xhtml
const THE_WORLD_IN_IPV6: &str = "2000::/3";
/// Where nodes' own DNS caches listen: https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";

/// What holds for all desktops of a namespace: only the gateway's and the controller's pods get in, and out they get to DNS and to
/// the world. Other desktops, the cluster's own services and the metadata service are neither.
pub fn namespace_policy_spec(gateway_namespace: &str) -> NetworkPolicySpec {
    let dns = NetworkPolicyEgressRule {
        to: Some(vec![namespace_peer("kube-system"), block(NODE_LOCAL_DNS, &[])]),
        ports: Some(["UDP", "TCP"].map(|protocol| port(protocol, 53)).into()),
    };
    let world = NetworkPolicyEgressRule {
        to: Some(vec![block("0.0.0.0/0", &NOT_THE_WORLD), block(THE_WORLD_IN_IPV6, &[])]),
        ports: None,
    };
    let ingress = NetworkPolicyPeer {
        pod_selector: Some(selector([("app.kubernetes.io/part-of", "vdiwarden")])),
        ..namespace_peer(gateway_namespace)
    };
    NetworkPolicySpec {
        pod_selector: Some(selector([("app.kubernetes.io/name", DESKTOP)])),
        ingress: Some(vec![NetworkPolicyIngressRule { from: Some(vec![ingress]), ports: None }]),
        egress: Some(vec![dns, world]),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
    }
}

pub fn namespace_policy(namespace: &str, spec: &NetworkPolicySpec) -> NetworkPolicy {
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(NAMESPACE_POLICY.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels([])),
            ..Default::default()
        },
        spec: Some(spec.clone()),
    }
}

/// What one session's desktop reaches besides, because its template says so. Policies add up.
pub fn own_network_policy(session: &Observed, template: &Template) -> NetworkPolicy {
    let rule = |reachable: &Reachable| NetworkPolicyEgressRule {
        to: Some(vec![block(&reachable.cidr, &[])]),
        ports: Some(reachable.ports.iter().map(|number| port("TCP", *number)).collect())
            .filter(|list: &Vec<_>| !list.is_empty()),
    };
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(own_name(&session.uid)),
            namespace: Some(session.namespace.clone()),
            labels: Some(labels([(SESSION_LABEL, &session.name)])),
            owner_references: Some(vec![owner(session)]),
            ..Default::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector([(SESSION_UID_LABEL, &session.uid)])),
            egress: Some(template.reachable.iter().map(rule).collect()),
            ingress: None,
            policy_types: Some(vec!["Egress".to_owned()]),
        }),
    }
}

fn namespace_peer(name: &str) -> NetworkPolicyPeer {
    // Every namespace has this label, and nobody can give it another value.
    NetworkPolicyPeer {
        namespace_selector: Some(selector([("kubernetes.io/metadata.name", name)])),
        ..Default::default()
    }
}

fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    let except = Some(except.iter().map(ToString::to_string).collect()).filter(|list: &Vec<_>| !list.is_empty());
    NetworkPolicyPeer { ip_block: Some(IPBlock { cidr: cidr.to_owned(), except }), ..Default::default() }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number.into())),
        protocol: Some(protocol.to_owned()),
        ..Default::default()
    }
}

fn selector<const N: usize>(pairs: [(&str, &str); N]) -> LabelSelector {
    LabelSelector { match_labels: Some(strings(pairs)), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, resources::snapshot};

    #[test]
    fn the_namespaces_policy_is_the_one_in_the_snapshot() {
        let spec = namespace_policy_spec("vdiwarden-system");
        snapshot::assert("namespace-policy", &namespace_policy("team", &spec));
    }

    #[test]
    fn a_sessions_own_policy_is_the_one_in_the_snapshot() {
        let reachable = |cidr: &str, ports: &[u16]| Reachable { cidr: cidr.to_owned(), ports: ports.to_vec() };
        let template = Template {
            reachable: vec![reachable("10.20.0.0/16", &[445, 2049]), reachable("fd00:20::/64", &[])],
            ..fixture::template()
        };
        snapshot::assert("own-network-policy", &own_network_policy(&fixture::observed(), &template));
    }
}
