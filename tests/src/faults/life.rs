//! Everything that can happen to a session, once.

use anyhow::Result;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use vdi_api::{Phase, VDISession, desktop_pod::SESSION};

use super::{
    actions::{BRIEF, LASTING, STUCK, failed},
    invariants::phase,
};
use crate::{
    objects::{create, session, wait_gone},
    test_namespace::TestNamespace,
    wait::within,
};

/// Sessions with a common name prefix.
pub struct Life<'a> {
    pub namespace: &'a TestNamespace,
    pub prefix: String,
}

impl Life<'_> {
    /// Plays sessions that are created, run, are suspended, resumed, deleted, expire, crash and never start, all at once, until
    /// they have ended.
    pub async fn whole(&self) -> Result<()> {
        tokio::try_join!(self.lasts(), self.is_deleted(), self.expires(), self.crashes(), self.never_starts())?;
        Ok(())
    }

    /// The session that remains at the end.
    pub fn stays(&self) -> String {
        format!("{}-stays", self.prefix)
    }

    async fn start(&self, end: &str, template: &str, timeout: &str) -> Result<String> {
        let name = format!("{}-{end}", self.prefix);
        let mut session = session(&name, template);
        session.spec.user = format!("{name}@example.com");
        session.spec.timeout = timeout.to_owned();
        create(&self.namespace.sessions, &session).await?;
        Ok(name)
    }

    async fn lasts(&self) -> Result<()> {
        let name = self.start("stays", LASTING, "8h").await?;
        self.namespace.wait_running(&name).await?;
        self.change(&name, json!({ "suspend": true })).await?;
        self.namespace.wait(&name, Phase::Pending, "Suspended").await?;
        self.change(&name, json!({ "suspend": false })).await?;
        self.namespace.wait_running(&name).await?;
        self.change(&name, json!({ "timeout": "9h" })).await
    }

    async fn change(&self, name: &str, spec: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.namespace.sessions.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn is_deleted(&self) -> Result<()> {
        let name = self.start("deleted", LASTING, "8h").await?;
        self.namespace.wait_running(&name).await?;
        self.namespace.sessions.delete(&name, &DeleteParams::foreground()).await?;
        wait_gone(&self.namespace.sessions, &name).await
    }

    async fn expires(&self) -> Result<()> {
        let name = self.start("expires", LASTING, "1s").await?;
        wait_gone(&self.namespace.sessions, &name).await
    }

    async fn never_starts(&self) -> Result<()> {
        let name = self.start("never-starts", STUCK, "8h").await?;
        wait_gone(&self.namespace.sessions, &name).await
    }

    /// The controller may fail the session or give it another pod.
    async fn crashes(&self) -> Result<()> {
        let (sessions, pods) = (&self.namespace.sessions, &self.namespace.pods);
        let name = self.start("crashes", BRIEF, "8h").await?;
        self.namespace.wait_running(&name).await?;
        let before = sessions.get(&name).await?.resource_version();
        for pod in pods.list(&ListParams::default().labels(&format!("{SESSION}={name}"))).await? {
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &failed()).await?;
        }
        let is_over = |session: Option<&VDISession>| {
            session.is_none_or(|session| session.resource_version() != before && phase(session) == Phase::Running)
        };
        within(&format!("{name} runs again or is gone"), await_condition(sessions.clone(), &name, is_over)).await??;
        // It may be gone already.
        let _ = sessions.delete(&name, &DeleteParams::default()).await;
        wait_gone(sessions, &name).await
    }
}
