//! The network of a node's pods: a network namespace with a bridge, and a veth pair between it and this machine.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::command::run;
use crate::error::Error;

/// A veth pair between this machine and its pods. Its name is unique on this machine and determines the subnet, so creating it
/// reserves both.
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
                return match network.set_up().await {
                    Ok(()) => Ok(network),
                    Err(error) => {
                        network.release().await;
                        Err(error)
                    }
                };
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

    /// Gives this machine's end its addresses, the first of which is the source of what it sends to pods.
    async fn set_up(&self) -> Result<(), Error> {
        for address in [self.address(), self.api_server()] {
            let mut add = Command::new("ip");
            add.args(["address", "add", &format!("{address}/24"), "dev", &self.name]);
            run(add).await?;
        }
        let mut up = Command::new("ip");
        up.args(["link", "set", &self.name, "up"]);
        run(up).await.map(drop)
    }

    /// Releases a pair that no node will use.
    pub async fn release(&self) {
        let mut delete = Command::new("ip");
        delete.args(["link", "delete", &self.name]);
        // The error that led here is more useful than this one.
        let _ = run(delete).await;
    }

    /// This machine's address in the subnet, which the firewall takes for the node's own.
    pub fn address(&self) -> Ipv4Addr {
        self.host(1)
    }

    /// The bridge's address: the pods' gateway, which has the node ports and sends the firewall's rejections.
    pub fn bridge_address(&self) -> Ipv4Addr {
        self.host(2)
    }

    /// Where the gateway sends what is for the rest of the world. No interface has this address, unless a pod takes it.
    pub fn world(&self) -> Ipv4Addr {
        self.host(3)
    }

    /// This machine's address for the API server. To the firewall it is any address, unlike the node's.
    pub fn api_server(&self) -> Ipv4Addr {
        self.host(4)
    }

    pub fn subnet(&self) -> String {
        format!("{}/24", self.host(0))
    }

    fn host(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 86, self.number, host)
    }

    /// The CNI configuration that attaches pods to the bridge.
    /// https://www.cni.dev/docs/spec/#configuration-format
    pub fn cni(&self) -> Value {
        let gateway = self.bridge_address();
        json!({
            "cniVersion": "0.4.0",
            "name": self.name,
            "plugins": [{
                "type": "bridge",
                "bridge": "pods",
                // For pods that use a service which they are behind of themselves.
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": self.subnet(), "rangeStart": self.host(10), "gateway": gateway}]],
                    "routes": [{"dst": "0.0.0.0/0", "gw": gateway}],
                },
            }],
        })
    }
}
