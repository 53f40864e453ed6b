//! The objects that tests make, each by one helper, and waiting for what becomes of them.

use std::{fmt::Debug, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    events::v1::Event,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::{await_condition, conditions},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vdi_api::{Phase, VDISession, VDISessionSpec, VDISessionStatus, VDITemplate, VDITemplateSpec};

use crate::stack::Stack;

/// How long a test waits for something that should take a second or two.
const PATIENCE: Duration = Duration::from_secs(90);

/// Alice's session of a template.
pub fn session(name: &str, template: &str) -> VDISession {
    VDISession::new(
        name,
        VDISessionSpec {
            user: "alice@example.com".to_owned(),
            template: template.to_owned(),
            resources: Default::default(),
            timeout: "8h".to_owned(),
            suspend: false,
        },
    )
}

/// A template, with `changes` (a JSON merge patch of its spec) made to what is usual.
pub fn template(name: &str, changes: Value) -> Result<VDITemplate> {
    let mut spec = json!({ "image": "registry.example.com/desktop:1", "port": 6080 });
    for (field, value) in changes.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    Ok(VDITemplate::new(name, serde_json::from_value::<VDITemplateSpec>(spec)?))
}

/// A namespace of a test's own, and what is done in it, as administrator.
pub struct Space {
    pub name: String,
    pub client: Client,
    pub sessions: Api<VDISession>,
    pub pods: Api<Pod>,
}

impl Space {
    pub async fn new(stack: &Stack, name: &str) -> Result<Self> {
        let client = stack.cluster.admin();
        let namespace = Namespace {
            metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            ..Default::default()
        };
        Api::all(client).create(&PostParams::default(), &namespace).await?;
        Ok(Self::there_is(stack, name))
    }

    /// One that there is already.
    pub fn there_is(stack: &Stack, name: &str) -> Self {
        let client = stack.cluster.admin();
        Self {
            name: name.to_owned(),
            sessions: Api::namespaced(client.clone(), name),
            pods: Api::namespaced(client.clone(), name),
            client,
        }
    }

    /// A template named like the space.
    pub async fn template(&self, changes: Value) -> Result<VDITemplate> {
        create(&Api::all(self.client.clone()), &template(&self.name, changes)?).await
    }

    /// A session of the space's template.
    pub async fn session(&self, name: &str) -> Result<VDISession> {
        create(&self.sessions, &session(name, &self.name)).await
    }

    /// Waits until the session is in a phase, with a reason.
    pub async fn wait(&self, session: &str, phase: Phase, reason: &str) -> Result<VDISessionStatus> {
        let reached = |session: &VDISession| {
            let status = session.status.clone().unwrap_or_default();
            status.phase == phase && status.ready().is_some_and(|ready| ready.reason == reason)
        };
        let session = wait_for(&self.sessions, session, &format!("{phase:?} {reason}"), reached).await?;
        Ok(session.status.unwrap_or_default())
    }

    /// As [`Space::wait`]; returns what the user reads.
    pub async fn wait_told(&self, session: &str, phase: Phase, reason: &str) -> Result<String> {
        let status = self.wait(session, phase, reason).await?;
        Ok(status.ready().map(|ready| ready.message.clone()).unwrap_or_default())
    }

    /// Changes a session as its user does, with a merge patch of its spec.
    pub async fn change(&self, session: &str, spec: Value) -> Result<VDISession> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        Ok(self.sessions.patch(session, &PatchParams::default(), &patch).await?)
    }

    /// Changes the status of a session's pod, as a kubelet or another component does.
    pub async fn change_pod(&self, session: &str, status: Value) -> Result<Pod> {
        let patch = Patch::Strategic(json!({ "status": status }));
        Ok(self.pods.patch_status(&format!("vdi-{session}"), &PatchParams::default(), &patch).await?)
    }

    /// Waits for an event of this reason about a session, and returns its words.
    pub async fn wait_event(&self, session: &str, reason: &str) -> Result<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.name);
        let fields = ListParams::default().fields(&format!("regarding.name={session},reason={reason}"));
        for _ in 0..PATIENCE.as_millis() / 100 {
            if let Some(event) = events.list(&fields).await?.items.pop() {
                return Ok(event.note.unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("there is no event {reason} about {session}")
    }

    /// How many events of this reason there are about a session.
    pub async fn events(&self, session: &str, reason: &str) -> Result<usize> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.name);
        let fields = ListParams::default().fields(&format!("regarding.name={session},reason={reason}"));
        Ok(events.list(&fields).await?.items.len())
    }

    pub async fn wait_running(&self, session: &str) -> Result<VDISessionStatus> {
        self.wait(session, Phase::Running, "Running").await
    }
}

pub async fn create<K>(api: &Api<K>, object: &K) -> Result<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + serde::Serialize,
{
    api.create(&PostParams::default(), object).await.with_context(|| format!("creating {}", object.name_any()))
}

/// Deletes an object and waits until it is gone. Another one may have its name by then.
pub async fn delete<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let uid = api.get_metadata(name).await?.uid().with_context(|| format!("{name} has no uid"))?;
    api.delete(name, &DeleteParams::default()).await?;
    let gone = await_condition(api.clone(), name, conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.with_context(|| format!("{name} is still there"))??;
    Ok(())
}

pub async fn wait_gone<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let gone = await_condition(api.clone(), name, |object: Option<&K>| object.is_none());
    tokio::time::timeout(PATIENCE, gone).await.with_context(|| format!("{name} is still there"))??;
    Ok(())
}

/// Waits for an object to be as `reached` wants it; the error says how it was instead.
pub async fn wait_for<K>(api: &Api<K>, name: &str, what: &str, reached: impl Fn(&K) -> bool) -> Result<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let condition = |object: Option<&K>| object.is_some_and(&reached);
    match tokio::time::timeout(PATIENCE, await_condition(api.clone(), name, condition)).await {
        Ok(found) => found?.with_context(|| format!("{name} vanished")),
        Err(_) => bail!("{name} is not {what} after {PATIENCE:?}, but {:#?}", api.get_opt(name).await?),
    }
}
