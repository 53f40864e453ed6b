//! Deletes pods and network policies that have outlived their session. Kubernetes deletes what a deleted session owned, unless
//! somebody asked it to orphan that, or removed the owner reference.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use k8s_openapi::{NamespaceResourceScope, api::core::v1::Pod, api::networking::v1::NetworkPolicy};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use serde::de::DeserializeOwned;
use vdi_api::VDISession;
use vdi_planner::resources::NAMESPACE_POLICY;

use crate::cache::{Owner, PodSummary, Stores};

const PAUSE: Duration = Duration::from_secs(5);
/// Kubernetes' garbage collector gets this time first. Waiting costs nothing, and being faster would cost a request each.
const GARBAGE_COLLECTION: Duration = Duration::from_secs(10);

/// An object of this controller's without a session, as far as the stores show.
struct Orphan {
    kind: Kind,
    namespace: String,
    name: String,
    uid: String,
    /// The sessions that owned it.
    owners: Vec<Owner>,
}

#[derive(Debug)]
enum Kind {
    Pod,
    NetworkPolicy,
}

/// Never returns.
pub async fn follow(stores: &Stores, client: &Client) {
    let mut since: HashMap<String, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(PAUSE).await;
        let orphans = orphans(stores);
        since.retain(|uid, _| orphans.iter().any(|orphan| orphan.uid == *uid));
        for orphan in orphans {
            if since.entry(orphan.uid.clone()).or_insert_with(Instant::now).elapsed() < GARBAGE_COLLECTION {
                continue;
            }
            let Orphan { kind, namespace, name, .. } = &orphan;
            match end(&orphan, client).await {
                Ok(true) => tracing::info!(?kind, namespace, name, "deleted, since its session is gone"),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, ?kind, namespace, name, "its session is gone, and deleting it failed")
                }
            }
        }
    }
}

fn orphans(stores: &Stores) -> Vec<Orphan> {
    let pod = |pod: &PodSummary| Orphan {
        kind: Kind::Pod,
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone().unwrap_or_default(),
        owners: pod.owners.clone(),
    };
    let policy = |policy: &NetworkPolicy| Orphan {
        kind: Kind::NetworkPolicy,
        namespace: policy.namespace().unwrap_or_default(),
        name: policy.name_any(),
        uid: policy.uid().unwrap_or_default(),
        owners: Owner::all_of(&policy.metadata),
    };
    let (pods, policies) = (stores.pods.state(), stores.policies.state());
    let pods = pods.iter().filter(|pod| !pod.is_leaving()).map(|seen| pod(seen));
    let policies = policies.iter().filter(|policy| policy.name_any() != NAMESPACE_POLICY).map(|seen| policy(seen));
    let is_owned = |orphan: &Orphan| orphan.owners.iter().any(|owner| stores.has_session(&orphan.namespace, owner));
    pods.chain(policies).filter(|orphan| !is_owned(orphan)).collect()
}

/// Returns whether it was deleted. The stores may be stale, so the API server is asked whether the session is really gone.
async fn end(orphan: &Orphan, client: &Client) -> Result<bool, kube::Error> {
    let sessions: Api<VDISession> = Api::namespaced(client.clone(), &orphan.namespace);
    for owner in &orphan.owners {
        let session = sessions.get_metadata_opt(&owner.name).await?;
        if session.is_some_and(|session| session.metadata.uid.as_ref() == Some(&owner.uid)) {
            return Ok(false);
        }
    }
    match orphan.kind {
        Kind::Pod => delete::<Pod>(orphan, client).await,
        Kind::NetworkPolicy => delete::<NetworkPolicy>(orphan, client).await,
    }
}

async fn delete<K>(orphan: &Orphan, client: &Client) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let objects: Api<K> = Api::namespaced(client.clone(), &orphan.namespace);
    let preconditions = Preconditions { uid: Some(orphan.uid.clone()), resource_version: None };
    let this_one = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
    match objects.delete(&orphan.name, &this_one).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        result => result.map(|_| true),
    }
}
