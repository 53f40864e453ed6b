//! Step three: the plan's actions. Doing each twice is doing it once.

use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, Secret},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ObjectMeta, PostParams, Preconditions, PropagationPolicy},
    core::{Request, Status},
};
use serde::de::IgnoredAny;
use vdi_api::VDISession;

use crate::{
    observe::Observed,
    plan::Action,
    reason::Reason,
    resources::{MANAGED_BY, OURS, home_taken, pod_name, pod_name_taken},
};

/// What came of it.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Done,
    /// The cluster does not want it. Nothing is wrong with the connection: only time or a person can change it.
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
        // Of a pod it goes without saying.
        Ok(Outcome::Refused { reason, message }) if !matches!(action, Action::CreatePod(_)) => {
            Ok(Outcome::Refused { reason, message: format!("{what}: {message}") })
        }
        result => result.map_err(|source| ApplyError { verb, what, source: Box::new(source) }),
    }
}

/// What is gone already, or is another object by now, is as good as deleted.
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

/// In the foreground: the session stays visible as Terminating until its pod, and with it the GPU, is really gone. Never
/// another session that has the name by now.
fn this_very_session(session: &Observed) -> DeleteParams {
    DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..only(Some(&session.uid)) }
}

/// One request where there is none yet; what is there and differs is replaced as a whole: whatever somebody added to it goes.
async fn write_policy(policy: &NetworkPolicy, policies: &Api<NetworkPolicy>) -> Result<Outcome, kube::Error> {
    let written = match policies.create(&PostParams::default(), policy).await {
        Err(kube::Error::Api(taken)) if taken.code == 409 => {
            // Gone again by now: there is no policy, so this was not done.
            let Some(there) = policies.get_opt(&policy.name_any()).await? else { return Err(kube::Error::Api(taken)) };
            if !is_ours(&there.metadata, &policy.metadata) {
                let message = format!("it exists, and is not this controller's ({OURS}): delete it");
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

/// Whether what is there under a name is this controller's, and belongs to whom the wanted belongs to. Its name says neither.
fn is_ours(there: &ObjectMeta, wanted: &ObjectMeta) -> bool {
    let managed_by = |object: &ObjectMeta| object.labels.as_ref()?.get(MANAGED_BY).cloned();
    let owners = |object: &ObjectMeta| -> Vec<String> {
        object.owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect()
    };
    managed_by(there) == managed_by(wanted) && owners(there) == owners(wanted)
}

/// A home that is there already is used, if it is the user's.
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

/// What is there already is what is wanted: nobody else makes such a name, which has the session's uid and the key in it.
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
    let json = serde_json::to_vec(pod).map_err(kube::Error::SerdeError)?;
    let request = Request::new(pods.resource_url()).create(&PostParams::default(), json);
    // Most of a pod's answer is what was asked for, and its watch brings it too.
    match pods.clone().into_client().request::<IgnoredAny>(request.map_err(kube::Error::BuildRequest)?).await {
        Err(kube::Error::Api(status)) if status.code == 409 => name_taken(pod, session, pods).await,
        result => created(result.map(drop)),
    }
}

/// An earlier pass's pod that the watch hasn't shown yet is as good as created; any other is in the way.
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
