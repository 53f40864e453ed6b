//! A node's files. Its own processes see their directory as /mnt (see node.sh).

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;

use super::api_server;
use super::images::BUSYBOX;
use super::network::Network;
use crate::control_plane::ControlPlane;
use crate::error::{Error, IoContext};
use crate::files::{create_private_dir, write_private};
use crate::kubeconfig;
use crate::services::SERVICES;
use crate::users::User;

/// The directory of the CNI plugins: the first in Debian's package, the second everywhere else.
pub(super) fn cni_plugins() -> Option<&'static str> {
    ["/usr/lib/cni", "/opt/cni/bin"].into_iter().find(|directory| Path::new(directory).join("bridge").is_file())
}

/// Writes what containerd and the kubelet need to `state`, and creates `runtime`, the directory for sockets.
pub(super) fn write(cluster: &ControlPlane, network: &Network, state: &Path, runtime: &Path) -> Result<(), Error> {
    create_private_dir(runtime)?;
    create_private_dir(&state.join("cni"))?;
    let file = |name: &str, contents: &str| write_private(&state.join(name), contents);
    let (name, address) = (&network.name, network.address().to_string());

    let plugins = cni_plugins().ok_or(Error::Unsupported("there are no CNI plugins: install them in /opt/cni/bin"))?;
    let containerd = include_str!("containerd.toml").replace("@IMAGE@", BUSYBOX);
    file("containerd.toml", &containerd.replace("@PLUGINS@", "/mnt/bin"))?;
    tools(&state.join("bin"), plugins)?;
    file("cni/bridge.conflist", &network.cni().to_string())?;
    let fill = |text: &str| {
        text.replace("@NODE@", name)
            .replace("@ADDRESS@", &address)
            .replace("@BRIDGE@", &network.bridge_address().to_string())
            .replace("@DNS@", &SERVICES.dns.to_string())
            .replace("@SUBNET@", &network.subnet())
    };
    file("kubelet.yaml", &fill(include_str!("kubelet.yaml")))?;
    file("kube-proxy.yaml", &fill(include_str!("kube-proxy.yaml")))?;
    file("resolv.conf", "")?;

    let authority = cluster.authority();
    file("ca.crt", &authority.certificate)?;
    let serving = authority.server(&[&address])?;
    file("serving.crt", &serving.certificate)?;
    file("serving.key", &serving.key)?;
    // https://kubernetes.io/docs/reference/access-authn-authz/node/
    let client = authority.client(&format!("system:node:{name}"), "system:nodes")?;
    file("client.crt", &client.certificate)?;
    file("client.key", &client.key)?;
    let credentials = json!({"client-certificate": "/mnt/client.crt", "client-key": "/mnt/client.key"});
    let kubeconfig =
        |file: &str, url: &str, user| kubeconfig::write(&state.join(file), url, Path::new("/mnt/ca.crt"), user);
    let token = |user: &User| cluster.token(user).map(|token| json!({"token": token}));
    kubeconfig("kubeconfig", cluster.url(), credentials)?;
    kubeconfig("kube-router.kubeconfig", cluster.url(), token(&User::kube_router())?)?;
    kubeconfig("dra-driver.kubeconfig", cluster.url(), token(&User::dra_driver())?)?;
    // It runs in the pods' network.
    kubeconfig("kube-proxy.kubeconfig", &api_server::url(network), token(&User::kube_proxy())?)
}

/// Fills a directory with the tools that work on the pods' network, under their usual names: CNI plugins and firewall tools.
fn tools(directory: &Path, plugins: &str) -> Result<(), Error> {
    const TOOLS: [&str; 8] =
        ["bridge", "host-local", "loopback", "ip6tables", "ipset", "iptables", "iptables-restore", "iptables-save"];
    create_private_dir(directory)?;
    let script = directory.join("in-pods-network");
    let text = include_str!("in-pods-network.sh").replace("@PLUGINS@", plugins);
    std::fs::write(&script, text).context("writing", &script)?;
    std::fs::set_permissions(&script, Permissions::from_mode(0o700)).context("making executable", &script)?;
    for tool in TOOLS {
        symlink("in-pods-network", directory.join(tool)).context("linking", directory)?;
    }
    Ok(())
}
