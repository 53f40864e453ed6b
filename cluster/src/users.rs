//! Who talks to the API server.

/// A user as the API server sees one: a name and groups, which RBAC grants rights to. The API server knows those that
/// [`ControlPlane::start`](crate::ControlPlane::start) was given, and the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub groups: Vec<String>,
}

impl User {
    pub fn new<G: Into<String>>(name: impl Into<String>, groups: impl IntoIterator<Item = G>) -> Self {
        Self { name: name.into(), groups: groups.into_iter().map(Into::into).collect() }
    }

    /// May do everything; every cluster knows this one.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", ["system:masters"])
    }

    /// What a pod that runs with this service account is, seen from the API server.
    /// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        Self::new(format!("system:serviceaccount:{namespace}:{name}"), groups)
    }

    /// The users that parts of a cluster are.
    pub(crate) fn components() -> [Self; 5] {
        [Self::admin(), Self::controller_manager(), Self::scheduler(), Self::kube_router(), Self::kwok()]
    }

    /// The names of this and the next are known to the RBAC rules that the API server starts with.
    pub(crate) fn controller_manager() -> Self {
        Self { name: "system:kube-controller-manager".into(), groups: vec![] }
    }

    pub(crate) fn scheduler() -> Self {
        Self { name: "system:kube-scheduler".into(), groups: vec![] }
    }

    /// May read what a firewall is made from, and nothing else (see real/firewall.rs).
    pub(crate) fn kube_router() -> Self {
        Self { name: "kube-router".into(), groups: vec![] }
    }

    pub(crate) fn kwok() -> Self {
        Self::new("kwok", ["system:masters"])
    }
}
