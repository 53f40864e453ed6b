//! Step three: the plan's action. Doing it twice is doing it once.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions, PropagationPolicy},
    core::Status,
};
use vdi_api::VDISession;

use crate::{
    observe::Observed,
    plan::Action,
    reason::Reason,
    resources::{pod_name, pod_name_taken},
};

/// What came of it.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Done,
    /// The cluster does not want the pod. Nothing is wrong with the connection: only time or a person can change it.
    Refused {
        reason: Reason,
        message: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("creating pod {name}: {source}")]
    CreatePod { name: String, source: Box<kube::Error> },
    #[error("deleting pod {name}: {source}")]
    DeletePod { name: String, source: Box<kube::Error> },
    #[error("deleting the session: {0}")]
    DeleteSession(Box<kube::Error>),
}

pub async fn apply(action: Action, session: &Observed, client: &Client) -> Result<Outcome, ApplyError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &session.namespace);
    let name = pod_name(&session.name);
    match action {
        Action::CreatePod(pod) => {
            let error = |source| ApplyError::CreatePod { name, source: Box::new(source) };
            create_pod(&pod, session, &pods).await.map_err(error)
        }
        Action::DeletePod => match pods.delete(&name, &DeleteParams::default()).await {
            Ok(_) => Ok(Outcome::Done),
            Err(error) if code(&error) == Some(404) => Ok(Outcome::Done),
            Err(source) => Err(ApplyError::DeletePod { name, source: Box::new(source) }),
        },
        Action::DeleteSession => {
            let sessions: Api<VDISession> = Api::namespaced(client.clone(), &session.namespace);
            match sessions.delete(&session.name, &this_very_session(session)).await {
                Ok(_) => Ok(Outcome::Done),
                Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(Outcome::Done),
                Err(source) => Err(ApplyError::DeleteSession(Box::new(source))),
            }
        }
    }
}

/// In the foreground: the session stays visible as Terminating until its pod, and with it the GPU, is really gone. Never
/// another session that has the name by now.
fn this_very_session(session: &Observed) -> DeleteParams {
    DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(Preconditions { uid: Some(session.uid.clone()), resource_version: None }),
        ..Default::default()
    }
}

async fn create_pod(pod: &Pod, session: &Observed, pods: &Api<Pod>) -> Result<Outcome, kube::Error> {
    match pods.create(&PostParams::default(), pod).await {
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

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
