//! Extending a session that is about to end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use vdi_api::VDISession;
use vdi_tests::{
    fixture::{BRIEF, BRIEFEST},
    objects::{create, session, wait_for},
    stack::{alice, gateway},
    test_namespace::TestNamespace,
    visitor::Visitor,
};

use crate::{Site, with_site};

/// Starts a session of alice's with this timeout, and opens its desktop.
async fn ending(site: &Site, namespace: &TestNamespace, timeout: &str) -> Result<(Visitor, String)> {
    namespace.template(json!({ "port": site.desktop_port })).await?;
    let mut ending = session("desktop", &namespace.name);
    ending.spec.timeout = timeout.to_owned();
    create(&namespace.sessions, &ending).await?;
    namespace.wait_running("desktop").await?;
    Visitor::at_desktop(&[&site.first], &site.stack, &alice(), &namespace.name, "desktop").await
}

#[test]
fn a_session_that_ends_soon_can_be_extended_by_an_hour_once() -> Result<()> {
    with_site(async |site| {
        let namespace = TestNamespace::new(&site.stack, "extended").await?;
        let (mut visitor, host) = ending(site, &namespace, "10m").await?;
        let before = namespace.wait_running("desktop").await?.expires_at.context("no end")?;
        let answer = visitor.post(&site.first, &host, "/.vdi/extend", "").await?;
        ensure!(answer.status == 200, "{answer:?}");
        let is_later = |session: &VDISession| {
            let end = session.status.as_ref().and_then(|status| status.expires_at.clone());
            end.is_some_and(|end| end.0.duration_since(before.0).as_secs() == 3600)
        };
        let session = wait_for(&namespace.sessions, "desktop", "extended by an hour", is_later).await?;
        ensure!(session.spec.timeout == "1h10m", "{}", session.spec.timeout);
        // Refused once the gateway has seen the new timeout.
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = visitor.post(&site.first, &host, "/.vdi/extend", "").await?;
            if answer.status == 409 {
                break;
            }
            ensure!(answer.status == 200 && Instant::now() < deadline, "{answer:?}");
        }
        ensure!(namespace.sessions.get("desktop").await?.spec.timeout == "1h10m", "it was extended twice");
        Ok(())
    })
}

#[test]
fn a_session_is_extended_up_to_the_policys_limit_and_then_refused_with_its_message() -> Result<()> {
    with_site(async |site| {
        let (brief, limit) = BRIEF;
        let namespace = TestNamespace::new(&site.stack, brief).await?;
        let (mut visitor, host) = ending(site, &namespace, "14m").await?;
        let answer = visitor.post(&site.first, &host, "/.vdi/extend", "").await?;
        ensure!(answer.status == 200, "{answer:?}");
        let timeout = namespace.sessions.get("desktop").await?.spec.timeout;
        ensure!(timeout == "29m", "expected the longest timeout below {limit}, got {timeout}");

        let (briefest, limit) = BRIEFEST;
        let namespace = TestNamespace::new(&site.stack, briefest).await?;
        let (mut visitor, host) = ending(site, &namespace, "14m").await?;
        let answer = visitor.post(&site.first, &host, "/.vdi/extend", "").await?;
        ensure!(answer.status == 409, "{answer:?}");
        ensure!(
            answer.body.contains("spec.timeout") && answer.body.contains(&format!("at most {limit}")),
            "{answer:?}"
        );
        ensure!(namespace.sessions.get("desktop").await?.spec.timeout == "14m");
        Ok(())
    })
}

#[test]
fn the_gateway_can_change_the_timeout_of_a_session_and_nothing_else() -> Result<()> {
    with_site(async |site| {
        let namespace = TestNamespace::new(&site.stack, "narrow").await?;
        namespace.template(json!({})).await?;
        namespace.session("desktop").await?;
        let sessions: Api<VDISession> = Api::namespaced(site.stack.cluster.client(&gateway()).await?, "narrow");
        let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
        let change = async |patch| sessions.patch("desktop", &dry_run, &Patch::Merge(patch)).await;
        ensure!(change(json!({ "spec": { "timeout": "9h" } })).await.is_ok());
        let deadline = Instant::now() + Duration::from_secs(30);
        for patch in [
            json!({ "spec": { "suspend": true } }),
            json!({ "spec": { "timeout": "9h", "suspend": true } }),
            json!({ "metadata": { "labels": { "a": "b" } } }),
            json!({ "metadata": { "annotations": { "a": "b" } } }),
            json!({ "metadata": { "finalizers": ["example.com/stuck"] } }),
        ] {
            // The API server applies a new policy with a short delay.
            let refused = loop {
                match change(patch.clone()).await {
                    Err(error) => break error.to_string(),
                    Ok(_) => ensure!(Instant::now() < deadline, "{patch} was accepted"),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            };
            ensure!(refused.contains("acting for others requires the verb assign-user"), "{patch}: {refused}");
        }
        Ok(())
    })
}
