//! Why a desktop that is up can't be opened.

use std::net::IpAddr;

use vdi_api::printable;

/// Reads as what follows "the desktop is up, but".
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Obstacle {
    /// It is of a newer version.
    #[error("this version of the gateway doesn't know its protocol, {}: upgrade the gateway", printable(.0))]
    Protocol(String),
    #[error(
        "this gateway may not connect to its address, {0}: the pods' networks have to be in --pod-cidr (in the Helm \
         chart, podCIDRs)"
    )]
    Address(IpAddr),
}
