//! The cluster's DNS: a Deployment of CoreDNS on the node, behind the service `kube-dns`.

use std::path::Path;

use super::images::COREDNS;
use crate::command::run;
use crate::control_plane::ControlPlane;
use crate::error::Error;
use crate::files::write_private;
use crate::services::SERVICES;
use crate::users::User;

/// Creates it, or moves it to this node. It is ready some seconds later; until then every lookup fails at once.
pub(super) async fn deploy(cluster: &ControlPlane, node: &str, directory: &Path) -> Result<(), Error> {
    let manifest = include_str!("dns.yaml")
        .replace("@NODE@", node)
        .replace("@IMAGE@", COREDNS)
        .replace("@ADDRESS@", &SERVICES.dns.to_string());
    let path = directory.join("dns.yaml");
    write_private(&path, &manifest)?;
    let mut apply = cluster.kubectl(&User::admin(), ["apply", "--server-side", "--force-conflicts", "--filename"])?;
    apply.arg(path);
    run(apply).await.map(drop)
}
