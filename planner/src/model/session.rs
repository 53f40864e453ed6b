use jiff::Timestamp;
use kube_core::ResourceExt;
use vdi_api::{Email, Gpus, Invalid, Memory, Timeout, VDISession, VDISessionSpec};

/// A session's spec, with values that can't be wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub user: Email,
    pub template: String,
    pub gpus: Gpus,
    pub memory: Memory,
    pub timeout: Timeout,
    pub suspend: bool,
}

impl TryFrom<&VDISessionSpec> for Spec {
    type Error = FieldInvalid;

    fn try_from(spec: &VDISessionSpec) -> Result<Self, FieldInvalid> {
        Ok(Self {
            user: spec.user.parse().map_err(FieldInvalid::at("spec.user"))?,
            template: spec.template.clone(),
            gpus: i64::from(spec.resources.gpu).try_into().map_err(FieldInvalid::at("spec.resources.gpu"))?,
            memory: spec.resources.memory.parse().map_err(FieldInvalid::at("spec.resources.memory"))?,
            timeout: spec.timeout.parse().map_err(FieldInvalid::at("spec.timeout"))?,
            suspend: spec.suspend,
        })
    }
}

/// A field that an older schema let through, or that no schema can check.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field}: {invalid}")]
pub struct FieldInvalid {
    pub field: &'static str,
    pub invalid: Invalid,
}

impl FieldInvalid {
    pub fn at(field: &'static str) -> impl Fn(Invalid) -> Self {
        move |invalid| Self { field, invalid }
    }

    /// Of an object that can't be parsed at all.
    pub fn unreadable(error: &str) -> Self {
        Self { field: "object", invalid: Invalid::value(error, "what this version of the controller can read") }
    }
}

/// A session is being deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    pub since: Timestamp,
    /// Whether Kubernetes will delete what the session owns. It won't where somebody's finalizer keeps the session, or
    /// where its dependents are to be orphaned.
    pub is_kubernetes_own: bool,
}

impl Deletion {
    pub fn of(session: &VDISession) -> Option<Self> {
        let since = session.metadata.deletion_timestamp.as_ref()?.0;
        Some(Self { since, is_kubernetes_own: session.finalizers().iter().all(|name| name == "foregroundDeletion") })
    }
}
