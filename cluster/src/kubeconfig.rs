//! Kubeconfig files.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::Error;
use crate::files::write_private;

/// Writes a kubeconfig with one cluster and one user, whose credentials have the fields of `AuthInfo` in
/// https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
pub(crate) fn write(path: &Path, url: &str, authority: &Path, credentials: Value) -> Result<(), Error> {
    // The server's certificate doesn't have all of its addresses.
    let cluster = json!({"server": url, "certificate-authority": authority, "tls-server-name": "kubernetes"});
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": "user", "user": credentials}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "user"}}],
        "current-context": "local",
    });
    write_private(path, &format!("{kubeconfig:#}\n"))
}
