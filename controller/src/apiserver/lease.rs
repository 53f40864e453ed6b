use k8s_openapi::api::coordination::v1::{self, LeaseSpec};
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Serialize};
use vdi_service::{Aside, Lenient, lenient, same_resource};

/// A Lease that need not be parseable: whoever may write it may have tampered with it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "v1::Lease")]
pub struct Lease {
    #[serde(deserialize_with = "lenient::metadata")]
    pub metadata: ObjectMeta,
    pub spec: Option<LeaseSpec>,
}

same_resource!(Lease, v1::Lease);

impl From<Lease> for v1::Lease {
    fn from(Lease { metadata, spec }: Lease) -> Self {
        Self { metadata, spec }
    }
}

impl Lease {
    /// One that can't be parsed counts as held by somebody, and each new version of it as a renewal.
    pub fn read(lease: Lenient<Self>, aside: &Aside) -> Self {
        let ObjectMeta { name, resource_version, .. } = lease.meta().clone();
        aside.only(lease).unwrap_or_else(|| {
            let somebody =
                format!("somebody, by version {} that can't be read", resource_version.as_deref().unwrap_or("?"));
            let spec = LeaseSpec { holder_identity: Some(somebody), ..LeaseSpec::default() };
            Self { metadata: ObjectMeta { name, resource_version, ..ObjectMeta::default() }, spec: Some(spec) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_cannot_be_parsed_counts_as_held_and_each_version_as_a_renewal() {
        let aside = Aside::default();
        let read = |version: &str, time: &str| {
            let text = format!(
                r#"{{ "metadata": {{ "name": "l", "resourceVersion": "{version}" }}, "spec": {{ "renewTime": "{time}" }} }}"#
            );
            Lease::read(serde_json::from_str(&text).unwrap(), &aside)
        };
        let (one, other) = (read("1", "9999-12-31T23:59:59.000000Z"), read("2", "9999-12-31T23:59:59.000000Z"));
        assert!(one.spec.is_some() && one.spec != other.spec);
        assert_eq!(other.metadata.resource_version.as_deref(), Some("2"), "so that it can be taken");
        assert_eq!(aside.all::<Lease>().len(), 1);
        let well = read("3", "2026-01-01T12:00:00.000000Z");
        assert!(well.spec.unwrap().holder_identity.is_none() && aside.all::<Lease>().is_empty());
    }
}
