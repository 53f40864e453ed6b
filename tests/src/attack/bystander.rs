use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use vdi_api::Phase;
use vdi_cluster::User;

use super::attacker;
use crate::{
    entrance::Entrance,
    fixture::Fixture,
    objects::{create, session},
    test_namespace::TestNamespace,
    visitor::Visitor,
};

/// A user at work in their desktop.
pub struct Bystander {
    pub session: String,
    pub uid: String,
    pod: String,
    visitor: Visitor,
    host: String,
}

impl Bystander {
    pub async fn start(gateway: &Entrance, fixture: &Fixture, namespace: &TestNamespace, user: User) -> Result<Self> {
        let name = format!("{}s", user.name.split('@').next().unwrap_or_default());
        let mut new = session(&name, attacker::OPEN);
        new.spec.user = user.name.clone();
        let uid = create(&namespace.sessions, &new).await?.uid().context("no uid")?;
        namespace.wait_running(&name).await?;
        let pod = namespace.pods.get(&format!("vdi-{name}")).await?.uid().context("no uid")?;
        let stack = &fixture.stack;
        let (visitor, host) = Visitor::at_desktop(&[gateway], stack, &user, &namespace.name, &name).await?;
        Ok(Self { session: name, uid, pod, visitor, host })
    }

    /// Checks that the session and its pod are unchanged and running.
    pub async fn is_undisturbed(&self, namespace: &TestNamespace) -> Result<()> {
        let session = namespace.sessions.get(&self.session).await?;
        let status = session.status.clone().unwrap_or_default();
        ensure!(session.uid().as_ref() == Some(&self.uid) && status.phase == Phase::Running, "{session:#?}");
        ensure!(session.metadata.deletion_timestamp.is_none(), "{} is being deleted", self.session);
        let pod = namespace.pods.get_metadata(&format!("vdi-{}", self.session)).await?;
        ensure!(pod.uid().as_ref() == Some(&self.pod), "{} has another pod", self.session);
        ensure!(pod.metadata.deletion_timestamp.is_none(), "the pod of {} is being deleted", self.session);
        Ok(())
    }

    pub async fn reaches(&mut self, gateway: &Entrance) -> Result<()> {
        self.visitor.until_at_desktop(gateway, &self.host).await.map(drop)
    }
}
