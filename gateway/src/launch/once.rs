//! That a code is used once, whichever replica it is shown to: the API server lets one of them make a Lease of its name.

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
use vdi_service::{Aside, Lenient, lenient::metadata, same_resource};

use crate::token::Purpose;

/// Of the Leases that are codes.
const LABEL: (&str, &str) = ("vdi.kasm.io/used-code", "true");
/// When no code of that time can be good any more, by any replica's clock.
const KEPT: Duration = Duration::from_secs(Purpose::Launch.longest().as_secs() + 120);

#[derive(Clone)]
pub struct Once {
    leases: Api<Lease>,
    /// The same, to read.
    used: Api<Lenient<UsedCode>>,
    aside: Arc<Aside>,
}

/// What is read of the Lease of a code.
#[derive(Clone, Debug, Deserialize)]
struct UsedCode {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    spec: UsedCodeSpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsedCodeSpec {
    acquire_time: Option<MicroTime>,
    holder_identity: Option<String>,
}

same_resource!(UsedCode, Lease);

impl Once {
    /// In a namespace that has no other Leases.
    pub fn new(client: Client, namespace: &str, aside: Arc<Aside>) -> Self {
        Self { leases: Api::namespaced(client.clone(), namespace), used: Api::namespaced(client, namespace), aside }
    }

    /// Whether this is the first time that this code is shown, by the `jti` of its token, or else whether it was shown in the
    /// same attempt before: the answer to that may have been lost. What can't be found out is an error.
    pub async fn is_first(&self, id: &str, attempt: &str) -> Result<bool, kube::Error> {
        let (name, holder) = (name(id), hex(attempt));
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some([(LABEL.0.to_owned(), LABEL.1.to_owned())].into()),
                ..Default::default()
            },
            spec: Some(LeaseSpec {
                acquire_time: Some(MicroTime(Timestamp::now())),
                holder_identity: Some(holder.clone()),
                lease_duration_seconds: i32::try_from(KEPT.as_secs()).ok(),
                ..Default::default()
            }),
        };
        match self.leases.create(&PostParams::default(), &lease).await {
            Ok(_) => {
                tokio::spawn(self.clone().forget(name));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let same = ListParams::default().fields(&format!("metadata.name={name}"));
                let mut first = self.aside.list(&self.used, &same).await?.into_iter();
                // Who says nothing of an attempt has one at most.
                Ok(!attempt.is_empty() && first.any(|lease| lease.spec.holder_identity.as_ref() == Some(&holder)))
            }
            Err(error) => Err(error),
        }
    }

    async fn forget(self, name: String) {
        tokio::time::sleep(KEPT).await;
        if let Err(error) = self.leases.delete(&name, &DeleteParams::default()).await {
            tracing::debug!(%error, name, "the Lease of a used code stays until a gateway starts");
        }
    }

    /// Removes what gateways have left behind that were stopped in between.
    pub async fn tidy(&self) -> Result<(), kube::Error> {
        let ours = ListParams::default().labels(&format!("{}={}", LABEL.0, LABEL.1));
        let now = Timestamp::now();
        for lease in self.aside.list(&self.used, &ours).await? {
            let used = lease.spec.acquire_time.as_ref();
            let is_over = |used: &MicroTime| used.0 < now && now.duration_since(used.0).unsigned_abs() > KEPT;
            if used.is_some_and(is_over) {
                self.leases.delete(&lease.name_any(), &DeleteParams::default()).await?;
            }
        }
        Ok(())
    }
}

/// A name that Kubernetes takes, which an identifier in base64url isn't.
fn name(id: &str) -> String {
    format!("vdi-used-code-{}", &hex(id)[..40])
}

fn hex(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_name_of_its_own_which_kubernetes_takes() {
        let (one, other) = (name("A_b-C"), name("a_b-c"));
        assert_ne!(one, other);
        assert!(one.len() <= 63 && one.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    }
}
