//! A node's own network: a bridge on this machine.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::command::run;
use crate::error::Error;

/// A bridge that exists, without an address yet. Its name is unique on this machine and stands for the subnet, so that
/// creating it reserves both.
pub(super) struct Network {
    /// Such as `vdi-7`, at most 15 characters as for every network interface.
    pub bridge: String,
    subnet: Ipv4Addr,
    /// The machine's address on the bridge.
    pub address: Ipv4Addr,
}

impl Network {
    /// Finds a free subnet of 10.86.0.0/16, 254 addresses.
    pub async fn reserve() -> Result<Self, Error> {
        // Starts somewhere else in each process, which saves most collisions.
        let first = std::process::id() as u8;
        for number in (0..=255).map(|offset: u8| first.wrapping_add(offset)) {
            let network = Self {
                bridge: format!("vdi-{number}"),
                subnet: Ipv4Addr::new(10, 86, number, 0),
                address: Ipv4Addr::new(10, 86, number, 1),
            };
            if network.is_free().await? && network.create().await {
                return Ok(network);
            }
        }
        Err(Error::Unsupported("no subnet of 10.86.0.0/16 is free on this machine: stop other clusters"))
    }

    /// Whether no route leads into the subnet, other than through a gateway to everything else.
    async fn is_free(&self) -> Result<bool, Error> {
        for relation in ["root", "match"] {
            let mut routes = Command::new("ip");
            routes.args(["-4", "route", "show", "to", relation, &format!("{}/24", self.subnet)]);
            if run(routes).await?.lines().any(|route| !route.starts_with("default ")) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// False when there is such a bridge.
    async fn create(&self) -> bool {
        let mut add = Command::new("ip");
        add.args(["link", "add", &self.bridge, "type", "bridge"]);
        run(add).await.is_ok()
    }

    /// Gives a bridge back that no node will use.
    pub async fn release(&self) {
        let mut delete = Command::new("ip");
        delete.args(["link", "delete", &self.bridge]);
        // The error that led here says more than this one could.
        let _ = run(delete).await;
    }

    /// How pods are attached: an address each, and no route, so that they reach each other and this machine only.
    /// https://www.cni.dev/docs/spec/#configuration-format
    pub fn cni(&self) -> Value {
        json!({
            "cniVersion": "0.4.0",
            "name": self.bridge,
            "plugins": [{
                "type": "bridge",
                "bridge": self.bridge,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": format!("{}/24", self.subnet), "gateway": self.address}]],
                },
            }],
        })
    }
}
