//! A namespace for one test, and what tests do in it.

use anyhow::Result;
use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    events::v1::Event,
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use vdi_api::{Phase, VDISession, VDISessionStatus, VDITemplate};

use crate::{
    objects::{create, session, template, wait_for},
    stack::Stack,
    wait,
};

/// A namespace that belongs to one test. All requests are made as administrator.
pub struct TestNamespace {
    pub name: String,
    pub client: Client,
    pub sessions: Api<VDISession>,
    pub pods: Api<Pod>,
}

impl TestNamespace {
    pub async fn new(stack: &Stack, name: &str) -> Result<Self> {
        let client = stack.cluster.admin();
        let namespace = Namespace {
            metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            ..Default::default()
        };
        Api::all(client).create(&PostParams::default(), &namespace).await?;
        Ok(Self::existing(stack, name))
    }

    /// A namespace that exists already.
    pub fn existing(stack: &Stack, name: &str) -> Self {
        let client = stack.cluster.admin();
        Self {
            name: name.to_owned(),
            sessions: Api::namespaced(client.clone(), name),
            pods: Api::namespaced(client.clone(), name),
            client,
        }
    }

    /// Creates a template with the namespace's name.
    pub async fn template(&self, changes: Value) -> Result<VDITemplate> {
        create(&Api::all(self.client.clone()), &template(&self.name, changes)?).await
    }

    /// Creates a session from the namespace's template.
    pub async fn session(&self, name: &str) -> Result<VDISession> {
        create(&self.sessions, &session(name, &self.name)).await
    }

    /// Waits until the session has this phase and its Ready condition this reason.
    pub async fn wait(&self, session: &str, phase: Phase, reason: &str) -> Result<VDISessionStatus> {
        let reached = |session: &VDISession| {
            let status = session.status.clone().unwrap_or_default();
            status.phase == phase && status.ready().is_some_and(|ready| ready.reason == reason)
        };
        let session = wait_for(&self.sessions, session, &format!("{phase:?} {reason}"), reached).await?;
        Ok(session.status.unwrap_or_default())
    }

    /// Like [`TestNamespace::wait`]. Returns the message of the Ready condition.
    pub async fn wait_message(&self, session: &str, phase: Phase, reason: &str) -> Result<String> {
        let status = self.wait(session, phase, reason).await?;
        Ok(status.ready().map(|ready| ready.message.clone()).unwrap_or_default())
    }

    /// Changes a session's spec with a merge patch.
    pub async fn change(&self, session: &str, spec: Value) -> Result<VDISession> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        Ok(self.sessions.patch(session, &PatchParams::default(), &patch).await?)
    }

    /// Changes the status of a session's pod, as the kubelet does.
    pub async fn change_pod(&self, session: &str, status: Value) -> Result<Pod> {
        let patch = Patch::Strategic(json!({ "status": status }));
        Ok(self.pods.patch_status(&format!("vdi-{session}"), &PatchParams::default(), &patch).await?)
    }

    /// Waits for an event about a session with this reason. Returns its note.
    pub async fn wait_event(&self, session: &str, reason: &str) -> Result<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.name);
        let fields = ListParams::default().fields(&format!("regarding.name={session},reason={reason}"));
        let what = format!("an event {reason} about {session}");
        let event = wait::for_value(&what, async || Ok(events.list(&fields).await?.items.pop())).await?;
        Ok(event.note.unwrap_or_default())
    }

    /// The number of events about a session with this reason.
    pub async fn events(&self, session: &str, reason: &str) -> Result<usize> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.name);
        let fields = ListParams::default().fields(&format!("regarding.name={session},reason={reason}"));
        Ok(events.list(&fields).await?.items.len())
    }

    pub async fn wait_running(&self, session: &str) -> Result<VDISessionStatus> {
        self.wait(session, Phase::Running, "Running").await
    }
}
