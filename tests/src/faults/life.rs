//! All that can happen to a session, once.

use anyhow::Result;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::json;
use vdi_api::{Phase, VDISession};

use super::{
    actions::{BRIEF, LASTING, STUCK, failed},
    invariants::{SESSION, phase},
};
use crate::objects::{Space, create, session, wait_gone};

/// The session that is there when all is over.
pub const STAYS: &str = "stays";

/// Sessions that are created, run, are suspended, resumed, deleted, expire, fail and never start, all at once. It ends when
/// they have.
pub async fn whole_life(space: &Space) -> Result<()> {
    tokio::try_join!(stays(space), is_deleted(space), expires(space), crashes(space), never_starts(space))?;
    Ok(())
}

async fn start(space: &Space, name: &str, template: &str, timeout: &str) -> Result<()> {
    let mut session = session(name, template);
    session.spec.user = format!("{name}@example.com");
    session.spec.timeout = timeout.to_owned();
    create(&space.sessions, &session).await.map(drop)
}

async fn change(space: &Space, name: &str, spec: serde_json::Value) -> Result<()> {
    space.sessions.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await?;
    Ok(())
}

async fn stays(space: &Space) -> Result<()> {
    start(space, STAYS, LASTING, "8h").await?;
    space.wait_running(STAYS).await?;
    change(space, STAYS, json!({ "suspend": true })).await?;
    space.wait(STAYS, Phase::Pending, "Suspended").await?;
    change(space, STAYS, json!({ "suspend": false })).await?;
    space.wait_running(STAYS).await?;
    change(space, STAYS, json!({ "timeout": "9h" })).await
}

async fn is_deleted(space: &Space) -> Result<()> {
    start(space, "deleted", LASTING, "8h").await?;
    space.wait_running("deleted").await?;
    space.sessions.delete("deleted", &DeleteParams::foreground()).await?;
    wait_gone(&space.sessions, "deleted").await
}

async fn expires(space: &Space) -> Result<()> {
    start(space, "expires", LASTING, "1s").await?;
    wait_gone(&space.sessions, "expires").await
}

async fn never_starts(space: &Space) -> Result<()> {
    start(space, "never-starts", STUCK, "8h").await?;
    wait_gone(&space.sessions, "never-starts").await
}

/// Whether the session fails for good or gets another pod is not decided here.
async fn crashes(space: &Space) -> Result<()> {
    start(space, "crashes", BRIEF, "8h").await?;
    space.wait_running("crashes").await?;
    let before = space.sessions.get("crashes").await?.resource_version();
    for pod in space.pods.list(&ListParams::default().labels(&format!("{SESSION}=crashes"))).await? {
        space.pods.patch_status(&pod.name_any(), &PatchParams::default(), &failed()).await?;
    }
    let is_over = |session: Option<&VDISession>| {
        session.is_none_or(|session| session.resource_version() != before && phase(session) == Phase::Running)
    };
    await_condition(space.sessions.clone(), "crashes", is_over).await?;
    // Where it is gone already, there is nothing to delete.
    let _ = space.sessions.delete("crashes", &DeleteParams::default()).await;
    wait_gone(&space.sessions, "crashes").await
}
