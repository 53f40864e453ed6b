//! The network of a node's pods: a network namespace with a bridge, and a veth pair between it and this machine.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::command::run;
use crate::error::Error;

/// A veth pair, without an address yet. Its name is unique on this machine and determines the subnet, so creating it reserves
/// both.
pub(super) struct Network {
    /// This machine's end of the pair, such as `vdi-7`. The other is named `vdi-7-pods` until it is in the namespace; names of
    /// network interfaces have at most 15 characters.
    pub name: String,
    number: u8,
}

impl Network {
    /// Finds a free subnet of 10.86.0.0/16, 254 addresses.
    pub async fn reserve() -> Result<Self, Error> {
        // Each process starts at a different number, which avoids most collisions.
        let first = std::process::id() as u8;
        for number in (0..=255).map(|offset: u8| first.wrapping_add(offset)) {
            let network = Self { name: format!("vdi-{number}"), number };
            if network.is_free().await? && network.create().await {
                return Ok(network);
            }
        }
        Err(Error::Unsupported("no subnet of 10.86.0.0/16 is free on this machine: stop other clusters"))
    }

    /// Whether no route leads into the subnet, except the default route.
    async fn is_free(&self) -> Result<bool, Error> {
        for relation in ["root", "match"] {
            let mut routes = Command::new("ip");
            routes.args(["-4", "route", "show", "to", relation, &self.subnet()]);
            if run(routes).await?.lines().any(|route| !route.starts_with("default ")) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// False if such a pair exists already.
    async fn create(&self) -> bool {
        let mut add = Command::new("ip");
        add.args(["link", "add", &self.name, "type", "veth", "peer", "name", &format!("{}-pods", self.name)]);
        run(add).await.is_ok()
    }

    /// Releases a pair that no node will use.
    pub async fn release(&self) {
        let mut delete = Command::new("ip");
        delete.args(["link", "delete", &self.name]);
        // The error that led here is more useful than this one.
        let _ = run(delete).await;
    }

    /// This machine's address in the subnet, which is the node's own address inside the pods' namespace.
    pub fn address(&self) -> Ipv4Addr {
        self.host(1)
    }

    /// The bridge's address, the source of the firewall's rejections.
    pub fn bridge_address(&self) -> Ipv4Addr {
        self.host(2)
    }

    /// The pods' default gateway. No interface has this address, unless a pod takes it.
    fn gateway(&self) -> Ipv4Addr {
        self.host(3)
    }

    fn subnet(&self) -> String {
        format!("{}/24", self.host(0))
    }

    fn host(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 86, self.number, host)
    }

    /// The CNI configuration that attaches pods to the bridge.
    /// https://www.cni.dev/docs/spec/#configuration-format
    pub fn cni(&self) -> Value {
        let gateway = self.gateway();
        json!({
            "cniVersion": "0.4.0",
            "name": self.name,
            "plugins": [{
                "type": "bridge",
                "bridge": "pods",
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": self.subnet(), "rangeStart": self.host(10), "gateway": gateway}]],
                    "routes": [{"dst": "0.0.0.0/0", "gw": gateway}],
                },
            }],
        })
    }
}
