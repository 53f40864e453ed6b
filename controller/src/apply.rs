//! Step three: the plan's actions. Doing each twice is doing it once.

use std::fmt::Debug;

use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, Secret},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::{Request, Status},
};
use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::json;
use vdi_api::VDISession;

use crate::{
    observe::Observed,
    plan::Action,
    reason::Reason,
    resources::{pod_name, pod_name_taken},
};

/// What came of it.
#[derive(Debug, Default, PartialEq)]
pub enum Outcome {
    #[default]
    Done,
    /// The cluster does not want the pod. Nothing is wrong with the connection: only time or a person can change it.
    Refused { reason: Reason, message: String },
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
            ("creating", format!("home {}", home.name_any()), create_once(home.as_ref(), &homes).await)
        }
        Action::CreateLogin(secret) => {
            let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
            ("creating", format!("secret {}", secret.name_any()), create_once(secret.as_ref(), &secrets).await)
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
    result.map_err(|source| ApplyError { verb, what, source: Box::new(source) })
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

/// One request where there is none yet; what is there and differs is brought in line.
async fn write_policy(policy: &NetworkPolicy, policies: &Api<NetworkPolicy>) -> Result<Outcome, kube::Error> {
    match policies.create(&PostParams::default(), policy).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            // As a whole: lists in it are replaced, not added to.
            let patch = Patch::Merge(json!({ "spec": policy.spec }));
            policies.patch(&policy.name_any(), &PatchParams::default(), &patch).await?;
            Ok(Outcome::Done)
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => Ok(refusal(&status)),
        result => result.map(|_| Outcome::Done),
    }
}

/// What is there already is what is wanted, whoever made it: its name says whose it is.
async fn create_once<K>(object: &K, api: &Api<K>) -> Result<Outcome, kube::Error>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
{
    match api.create(&PostParams::default(), object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Outcome::Done),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => Ok(refusal(&status)),
        result => result.map(|_| Outcome::Done),
    }
}

async fn create_pod(pod: &Pod, session: &Observed, pods: &Api<Pod>) -> Result<Outcome, kube::Error> {
    let json = serde_json::to_vec(pod).map_err(kube::Error::SerdeError)?;
    let request = Request::new(pods.resource_url()).create(&PostParams::default(), json);
    // Most of a pod's answer is what was asked for, and its watch brings it too.
    match pods.clone().into_client().request::<IgnoredAny>(request.map_err(kube::Error::BuildRequest)?).await {
        Ok(_) => Ok(Outcome::Done),
        Err(kube::Error::Api(status)) => match status.code {
            409 => name_taken(pod, session, pods).await,
            403 | 422 => Ok(refusal(&status)),
            _ => Err(kube::Error::Api(status)),
        },
        Err(error) => Err(error),
    }
}

/// An earlier pass's pod that the watch hasn't shown yet is as good as created; any other is in the way.
async fn name_taken(pod: &Pod, session: &Observed, pods: &Api<Pod>) -> Result<Outcome, kube::Error> {
    let name = pod.name_any();
    let Some(existing) = pods.get_metadata_opt(&name).await? else { return Ok(Outcome::Done) };
    let is_ours = existing.owner_references().iter().any(|owner| owner.uid == session.uid);
    let message = pod_name_taken(&session.name);
    Ok(if is_ours { Outcome::Done } else { Outcome::Refused { reason: Reason::PodNameTaken, message } })
}

fn refusal(status: &Status) -> Outcome {
    let is_quota = status.message.contains("exceeded quota");
    let reason = if is_quota { Reason::QuotaExceeded } else { Reason::PodRefused };
    Outcome::Refused { reason, message: status.message.clone() }
}
