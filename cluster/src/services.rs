//! The addresses of a cluster's services.

use std::net::Ipv4Addr;

pub(crate) struct Services {
    pub range: &'static str,
    /// The first of the range, which the API server takes for its own service.
    pub kubernetes: Ipv4Addr,
    pub dns: Ipv4Addr,
}

pub(crate) const SERVICES: Services =
    Services { range: "10.96.0.0/16", kubernetes: Ipv4Addr::new(10, 96, 0, 1), dns: Ipv4Addr::new(10, 96, 0, 10) };
