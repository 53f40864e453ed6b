//! The addresses that programs may connect to when they follow a pod's status: without a limit, everybody who can write a pod's
//! status could direct them anywhere.

use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;

/// The addresses that pods may have. Requests are never sent anywhere else.
#[derive(Args, Clone, Debug, Default)]
pub struct Reach {
    /// The networks of pod addresses; requests are sent nowhere else. Without it, anywhere except to loopback and link-local
    /// addresses
    #[arg(long, env = "VDI_POD_CIDR", value_name = "CIDR", value_delimiter = ',')]
    pub pod_cidr: Vec<IpNet>,
}

impl Reach {
    /// Whether a pod may have this address.
    pub fn includes(&self, ip: IpAddr) -> bool {
        // An IPv4-mapped IPv6 address is checked as the IPv4 address.
        let ip = ip.to_canonical();
        match &self.pod_cidr[..] {
            [] => !is_special(ip),
            networks => networks.iter().any(|network| network.contains(&ip)),
        }
    }
}

/// Loopback, link-local (such as a cloud's metadata service), unspecified or multicast.
fn is_special(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    is_link_local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_pods_networks_are_named_no_other_is_reached() {
        let reach = Reach { pod_cidr: vec!["127.64.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()] };
        for (ip, included) in [
            ("127.64.0.1", true),
            ("::ffff:127.64.0.1", true),
            ("fd00::1", true),
            ("10.1.2.3", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(reach.includes(ip.parse().unwrap()), included, "{ip}");
        }
    }
}
