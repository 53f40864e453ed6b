//! Carries out the plan's actions. Doing one twice is doing it once.

use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, Secret},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ObjectMeta, PostParams, Preconditions, PropagationPolicy},
    core::Status,
};
use vdi_api::{
    VDISession,
    desktop_pod::{MANAGED_BY, MANAGED_BY_SELECTOR, pod_name},
};
use vdi_planner::{
    model::{Observed, Reason},
    plan::Action,
    resources::{home_taken, pod_name_taken},
};
use vdi_service::unread;

/// The outcome of an action.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Done,
    /// The API server refused it. Nothing is wrong with the connection: only time or a person can change that.
    Refused {
        reason: Reason,
        message: String,
    },
}

#[derive(Debug, thiserror::Error)]
#[error("{verb} {what}: {source}")]
pub struct ApplyError {
    verb: &'static str,
    what: String,
    source: Box<kube::Error>,
}

pub async fn apply(action: &Action, session: &Observed, client: &Client) -> Result<Outcome, ApplyError> {
    let namespace = &session.namespace;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let (verb, what, result) = match action {
        Action::ProtectNamespace(policy) | Action::OpenNetwork(policy) => {
            let what = format!("network policy {}", policy.name_any());
            ("writing", what, write_policy(policy, &Api::namespaced(client.clone(), namespace)).await)
        }
        Action::CreateHome(home) => {
            let homes: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
            ("creating", format!("home {}", home.name_any()), create_home(home, &homes).await)
        }
        Action::CreateLogin(secret) => {
            let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
            ("creating", format!("secret {}", secret.name_any()), create_login(secret, &secrets).await)
        }
        Action::CreatePod(pod) => {
            ("creating", format!("pod {}", pod.name_any()), create_pod(pod, session, &pods).await)
        }
        Action::DeletePod => {
            let name = pod_name(&session.name);
            let precondition = only(session.pod_uid.as_ref());
            let result = pods.delete(&name, &precondition).await.map(drop);
            ("deleting", format!("pod {name}"), gone(result))
        }
        Action::DeleteSession => {
            let sessions: Api<VDISession> = Api::namespaced(client.clone(), namespace);
            let result = sessions.delete(&session.name, &this_very_session(session)).await.map(drop);
            ("deleting", "the session".to_owned(), gone(result))
        }
    };
    match result {
        // For a pod, the message alone says enough.
        Ok(Outcome::Refused { reason, message }) if !matches!(action, Action::CreatePod(_)) => {
            Ok(Outcome::Refused { reason, message: format!("{what}: {message}") })
        }
        result => result.map_err(|source| ApplyError { verb, what, source: Box::new(source) }),
    }
}

/// An object that is already gone, or has been replaced by another of its name, counts as deleted.
fn gone(result: Result<(), kube::Error>) -> Result<Outcome, kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Outcome::Done),
        result => result.map(|()| Outcome::Done),
    }
}

fn only(uid: Option<&String>) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions { uid: uid.cloned(), resource_version: None }),
        ..Default::default()
    }
}

/// In the foreground: the session stays visible as Terminating until its pod, and with it the GPU, is really gone. Never another
/// session that has the name by now.
fn this_very_session(session: &Observed) -> DeleteParams {
    DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..only(Some(&session.uid)) }
}

/// Creates the policy with one request. One that is there and differs is replaced as a whole, so that nothing stays that somebody
/// added to it.
async fn write_policy(policy: &NetworkPolicy, policies: &Api<NetworkPolicy>) -> Result<Outcome, kube::Error> {
    let written = match policies.create(&PostParams::default(), policy).await {
        Err(kube::Error::Api(taken)) if taken.code == 409 => {
            // Gone again by now, so there is no policy, and this counts as failed.
            let Some(there) = policies.get_opt(&policy.name_any()).await? else { return Err(kube::Error::Api(taken)) };
            if !is_ours(&there.metadata, &policy.metadata) {
                let message =
                    format!("it exists and isn't managed by this controller ({MANAGED_BY_SELECTOR}): delete it");
                return Ok(Outcome::Refused { reason: Reason::NetworkPolicyRefused, message });
            }
            if there.spec == policy.spec {
                return Ok(Outcome::Done);
            }
            let mut wanted = policy.clone();
            wanted.metadata.resource_version = there.metadata.resource_version;
            policies.replace(&policy.name_any(), &PostParams::default(), &wanted).await
        }
        result => result,
    };
    match written {
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => {
            Ok(Outcome::Refused { reason: Reason::NetworkPolicyRefused, message: status.message.clone() })
        }
        result => result.map(|_| Outcome::Done),
    }
}

/// Whether an existing object is this controller's and has the same owners as the wanted one. Its name proves neither.
fn is_ours(existing: &ObjectMeta, wanted: &ObjectMeta) -> bool {
    let managed_by = |object: &ObjectMeta| object.labels.as_ref()?.get(MANAGED_BY).cloned();
    let owners = |object: &ObjectMeta| -> Vec<String> {
        object.owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect()
    };
    managed_by(existing) == managed_by(wanted) && owners(existing) == owners(wanted)
}

/// A home that exists is used, if it is the user's.
async fn create_home(home: &PersistentVolumeClaim, homes: &Api<PersistentVolumeClaim>) -> Result<Outcome, kube::Error> {
    match homes.create(&PostParams::default(), home).await {
        Err(kube::Error::Api(taken)) if taken.code == 409 => {
            let there = homes.get_metadata_opt(&home.name_any()).await?;
            let there = there.ok_or(kube::Error::Api(taken))?;
            Ok(match is_ours(&there.metadata, &home.metadata) {
                true => Outcome::Done,
                false => Outcome::Refused { reason: Reason::HomeTaken, message: home_taken(&home.name_any()) },
            })
        }
        result => created(result.map(drop)),
    }
}

/// A Secret that exists is the right one: its name has the session's uid and the key in it.
async fn create_login(secret: &Secret, secrets: &Api<Secret>) -> Result<Outcome, kube::Error> {
    match secrets.create(&PostParams::default(), secret).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Outcome::Done),
        result => created(result.map(drop)),
    }
}

fn created(result: Result<(), kube::Error>) -> Result<Outcome, kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => Ok(refusal(&status)),
        result => result.map(|()| Outcome::Done),
    }
}

async fn create_pod(pod: &Pod, session: &Observed, pods: &Api<Pod>) -> Result<Outcome, kube::Error> {
    match unread::create(pods, pod).await {
        Err(kube::Error::Api(status)) if status.code == 409 => name_taken(pod, session, pods).await,
        result => created(result),
    }
}

/// An earlier pass's pod that the watch hasn't shown yet counts as created; any other is in the way.
async fn name_taken(pod: &Pod, session: &Observed, pods: &Api<Pod>) -> Result<Outcome, kube::Error> {
    let name = pod.name_any();
    let Some(existing) = pods.get_metadata_opt(&name).await? else { return Ok(Outcome::Done) };
    let message = pod_name_taken(&session.name);
    Ok(match is_ours(&existing.metadata, &pod.metadata) {
        true => Outcome::Done,
        false => Outcome::Refused { reason: Reason::PodNameTaken, message },
    })
}

fn refusal(status: &Status) -> Outcome {
    let is_quota = status.message.contains("exceeded quota");
    let reason = if is_quota { Reason::QuotaExceeded } else { Reason::PodRefused };
    Outcome::Refused { reason, message: status.message.clone() }
}
