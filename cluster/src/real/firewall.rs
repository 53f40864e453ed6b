//! The permissions of a node's firewall, kube-router.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::control_plane::ControlPlane;
use crate::error::{Error, KubeContext};
use crate::users::User;

/// Lets [`User::kube_router`] read only what it watches. Every node of a cluster does this.
pub(super) async fn authorize(cluster: &ControlPlane) -> Result<(), Error> {
    let User { name, .. } = User::kube_router();
    let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [
            rule("", &["endpoints", "namespaces", "nodes", "pods", "services"]),
            rule("discovery.k8s.io", &["endpointslices"]),
            rule("networking.k8s.io", &["networkpolicies"]),
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    });
    let (roles, bindings) = (Api::<ClusterRole>::all(cluster.admin()), Api::<ClusterRoleBinding>::all(cluster.admin()));
    let (params, action) = (PatchParams::apply("vdi-cluster"), || format!("letting {name} read"));
    roles.patch(&name, &params, &Patch::Apply(role)).await.context(action())?;
    bindings.patch(&name, &params, &Patch::Apply(binding)).await.context(action()).map(drop)
}
