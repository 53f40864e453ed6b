//! The users of the API server.

/// A user of the API server: a name and groups, to which RBAC grants permissions. The API server knows the users passed to
/// [`ControlPlane::start`](crate::ControlPlane::start), and the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub groups: Vec<String>,
}

impl User {
    pub fn new<G: Into<String>>(name: impl Into<String>, groups: impl IntoIterator<Item = G>) -> Self {
        Self { name: name.into(), groups: groups.into_iter().map(Into::into).collect() }
    }

    /// The administrator, who may do everything. Every cluster has this user.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", ["system:masters"])
    }

    /// The user of a service account.
    /// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        Self::new(format!("system:serviceaccount:{namespace}:{name}"), groups)
    }

    /// The users of a cluster's own components.
    pub(crate) fn components() -> [Self; 7] {
        [
            Self::admin(),
            Self::controller_manager(),
            Self::scheduler(),
            Self::kube_proxy(),
            Self::kube_router(),
            Self::kwok(),
            Self::dra_driver(),
        ]
    }

    /// The API server's built-in RBAC rules refer to this name and the next two.
    pub(crate) fn controller_manager() -> Self {
        Self { name: "system:kube-controller-manager".into(), groups: vec![] }
    }

    pub(crate) fn scheduler() -> Self {
        Self { name: "system:kube-scheduler".into(), groups: vec![] }
    }

    pub(crate) fn kube_proxy() -> Self {
        Self { name: "system:kube-proxy".into(), groups: vec![] }
    }

    /// May only read what its firewall depends on (see real/firewall.rs).
    pub(crate) fn kube_router() -> Self {
        Self { name: "kube-router".into(), groups: vec![] }
    }

    pub(crate) fn dra_driver() -> Self {
        Self::new("dra-driver", ["system:masters"])
    }

    pub(crate) fn kwok() -> Self {
        Self::new("kwok", ["system:masters"])
    }
}
