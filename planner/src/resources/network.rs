use std::net::IpAddr;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use vdi_api::{Cidr, METADATA_ADDRESSES, Reachable, desktop_pod as keys};

use super::{
    metadata::{labels, own_name, owner, strings},
    pod::DESKTOP,
};
use crate::model::{Observed, Template};

/// The name of the policy for all desktops of a namespace.
pub const NAMESPACE_POLICY: &str = "vdi-desktops";

/// Networks outside the public internet, besides the metadata services of clouds: [private], shared, link-local, loopback and multicast.
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
/// Only [global unicast] is public, without unique local addresses and NAT64, which leads to IPv4.
///
/// [global unicast]: https://www.iana.org/assignments/ipv6-address-space/ipv6-address-space.xhtml
const THE_WORLD_IN_IPV6: &str = "2000::/3";
/// Where nodes' own DNS caches listen: https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";

/// The rules for all desktops of a namespace: only the gateway's and the controller's pods reach them, and they reach DNS and the
/// public internet, but no other desktop, no service of the cluster and no metadata service.
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

/// What one session's desktop may reach besides, as its template says. Policies add up.
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
            labels: Some(labels([(keys::SESSION, &session.name)])),
            owner_references: Some(vec![owner(session)]),
            ..Default::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector([(keys::SESSION_UID, &session.uid)])),
            egress: Some(template.reachable.iter().map(rule).collect()),
            ingress: None,
            policy_types: Some(vec!["Egress".to_owned()]),
        }),
    }
}

fn namespace_peer(name: &str) -> NetworkPolicyPeer {
    // Every namespace has this label, and nobody can change it.
    NetworkPolicyPeer {
        namespace_selector: Some(selector([("kubernetes.io/metadata.name", name)])),
        ..Default::default()
    }
}

/// Excludes the metadata services of clouds, unless the block is exactly one of them.
fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    let is_in = |network: &str, address| network.parse().is_ok_and(|it: Cidr| it.contains(address) && !it.is_single());
    let metadata = METADATA_ADDRESSES.iter().filter(|address| is_in(cidr, **address));
    let metadata = metadata.filter(|address| !except.iter().any(|network| is_in(network, **address))).map(single);
    let except: Vec<_> = except.iter().map(ToString::to_string).chain(metadata).collect();
    let except = Some(except).filter(|list| !list.is_empty());
    NetworkPolicyPeer { ip_block: Some(IPBlock { cidr: cidr.to_owned(), except }), ..Default::default() }
}

fn single(address: &IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
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
    use crate::fixture;

    #[test]
    fn the_namespaces_policy_is_the_one_in_the_snapshot() {
        let spec = namespace_policy_spec("vdiwarden-system");
        insta::assert_yaml_snapshot!("namespace-policy", &namespace_policy("team", &spec));
    }

    #[test]
    fn no_desktop_reaches_a_metadata_service_unless_its_template_says_so() {
        let peers = |policy: NetworkPolicySpec| policy.egress.into_iter().flatten().filter(|rule| rule.ports.is_none());
        let reachable = ["0.0.0.0/0", "168.63.0.0/16", "fd00::/8", "fe80::/10"]
            .map(|cidr| Reachable { cidr: cidr.to_owned(), ports: vec![] });
        let template = Template { reachable: reachable.into(), ..fixture::template() };
        let own = own_network_policy(&fixture::observed(), &template).spec.unwrap();
        let blocks: Vec<_> = [namespace_policy_spec("vdiwarden-system"), own]
            .into_iter()
            .flat_map(peers)
            .flat_map(|rule| rule.to.into_iter().flatten().filter_map(|peer| peer.ip_block))
            .collect();
        assert_eq!(blocks.len(), 6);
        let has = |network: &str, address| network.parse::<Cidr>().unwrap().contains(address);
        for (address, block) in
            METADATA_ADDRESSES.iter().flat_map(|address| blocks.iter().map(move |it| (*address, it)))
        {
            let excepted = block.except.iter().flatten().any(|network| has(network, address));
            assert!(!has(&block.cidr, address) || excepted, "{address} is in {block:?}");
        }
    }

    #[test]
    fn a_sessions_own_policy_is_the_one_in_the_snapshot() {
        let reachable = |cidr: &str, ports: &[u16]| Reachable { cidr: cidr.to_owned(), ports: ports.to_vec() };
        let template = Template {
            reachable: vec![reachable("10.20.0.0/16", &[445, 2049]), reachable("fd00:20::/64", &[])],
            ..fixture::template()
        };
        insta::assert_yaml_snapshot!("own-network-policy", &own_network_policy(&fixture::observed(), &template));
    }
}
