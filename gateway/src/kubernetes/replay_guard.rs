//! Each launch code works once, at whichever replica: the API server lets only one of them create the Lease named after
//! it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use vdi_api::desktop_pod::USED_CODE;
use vdi_service::{Aside, Lenient, lenient::metadata, same_resource};

use crate::token::Purpose;

/// On the Leases of used codes.
const LABEL: (&str, &str) = (USED_CODE, "true");
/// After this long a code has expired by any replica's clock, and its Lease can go.
const RETENTION: Duration = Duration::from_secs(Purpose::Launch.longest().as_secs() + 120);

#[derive(Clone)]
pub struct ReplayGuard {
    leases: Api<Lease>,
    /// The same Leases, to read.
    used: Api<Lenient<PartialLease>>,
    aside: Arc<Aside>,
}

/// The parts of a Lease that are read.
#[derive(Clone, Debug, Deserialize)]
struct PartialLease {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    spec: PartialLeaseSpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartialLeaseSpec {
    acquire_time: Option<MicroTime>,
    holder_identity: Option<String>,
}

same_resource!(PartialLease, Lease);

impl ReplayGuard {
    /// Keeps its Leases in this namespace, which must have no others.
    pub fn new(client: Client, namespace: &str, aside: Arc<Aside>) -> Self {
        Self { leases: Api::namespaced(client.clone(), namespace), used: Api::namespaced(client, namespace), aside }
    }

    /// Whether the code with this `jti` may be used: it was never used before, or only in this same attempt, whose
    /// answer may have been lost. An error means that nobody knows.
    pub async fn redeem(&self, id: &str, attempt: &str) -> Result<bool, kube::Error> {
        let (name, holder) = (name(id), sha256_hex(attempt));
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some([(LABEL.0.to_owned(), LABEL.1.to_owned())].into()),
                ..Default::default()
            },
            spec: Some(LeaseSpec {
                acquire_time: Some(MicroTime(Timestamp::now())),
                holder_identity: Some(holder.clone()),
                lease_duration_seconds: i32::try_from(RETENTION.as_secs()).ok(),
                ..Default::default()
            }),
        };
        match self.leases.create(&PostParams::default(), &lease).await {
            Ok(_) => {
                tokio::spawn(self.clone().delete_later(name));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let same = ListParams::default().fields(&format!("metadata.name={name}"));
                let mut first = self.aside.list(&self.used, &same).await?.into_iter();
                // Without the name of an attempt, a code works once.
                Ok(!attempt.is_empty() && first.any(|lease| lease.spec.holder_identity.as_ref() == Some(&holder)))
            }
            Err(error) => Err(error),
        }
    }

    async fn delete_later(self, name: String) {
        tokio::time::sleep(RETENTION).await;
        if let Err(error) = self.leases.delete(&name, &DeleteParams::default()).await {
            tracing::debug!(%error, name, "cannot delete the Lease of a used code; it stays until a gateway starts");
        }
    }

    /// Deletes the expired Leases of gateways that stopped before they could.
    pub async fn delete_expired(&self) -> Result<(), kube::Error> {
        let ours = ListParams::default().labels(&format!("{}={}", LABEL.0, LABEL.1));
        let now = Timestamp::now();
        for lease in self.aside.list(&self.used, &ours).await? {
            let used = lease.spec.acquire_time.as_ref();
            let is_over = |used: &MicroTime| used.0 < now && now.duration_since(used.0).unsigned_abs() > RETENTION;
            if used.is_some_and(is_over) {
                self.leases.delete(&lease.name_any(), &DeleteParams::default()).await?;
            }
        }
        Ok(())
    }
}

/// A hash, because the base64url of a token's id is no valid object name.
fn name(id: &str) -> String {
    format!("vdi-used-code-{}", &sha256_hex(id)[..40])
}

fn sha256_hex(text: &str) -> String {
    hex::encode(digest(&SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_own_valid_object_name() {
        let (one, other) = (name("A_b-C"), name("a_b-c"));
        assert_ne!(one, other);
        assert!(one.len() <= 63 && one.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    }

    /// Otherwise a code would work twice while gateways are upgraded.
    #[test]
    fn a_used_code_has_the_name_that_gateways_of_the_last_release_look_for() {
        let recorded = include_str!("../../../tests/last-release/formats/tokens.json");
        let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
        assert_eq!(name(recorded["jti"].as_str().unwrap()), recorded["usedCode"]);
    }
}
