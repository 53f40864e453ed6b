//! What stays open and who is let in while parts of the cluster or gateways are down. One fault at a time, on one cluster.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::{core::v1::Secret, rbac::v1::ClusterRole};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::{sync::Mutex, time::timeout};
use vdi_tests::{
    fixture::Fixture,
    gateway::{DOMAIN, Gateway},
    http,
    process::signal,
    shared::{Shared, directory},
    stack::alice,
    visitor::Visitor,
    wait::{until, within},
    websocket::Websocket,
};

/// Runs a test alone on the cluster of this binary.
fn with_fixture(test: impl AsyncFnOnce(&'static Fixture) -> Result<()>) -> Result<()> {
    static FIXTURE: Shared<Fixture> = Shared::new();
    static ONE: Mutex<()> = Mutex::const_new(());
    FIXTURE.with(
        async || Fixture::start(&directory()).await,
        async |fixture| {
            let _one = ONE.lock().await;
            test(fixture).await
        },
    )
}

#[test]
fn a_pod_that_dies_ends_its_websocket_and_its_successor_is_found_automatically() -> Result<()> {
    with_fixture(async |fixture| {
        let namespace = fixture.running("pod").await?;
        let gateway = fixture.gateway("gateway-pod", fixture.public_port, &[]).await?;
        let (mut visitor, host) = Visitor::at_desktop(&[&gateway], &fixture.stack, &alice(), "pod", "desktop").await?;
        let mut socket = Websocket::open(&gateway, &mut visitor, &host).await?;
        socket.speaks().await?;
        namespace.pods.delete("vdi-desktop", &DeleteParams::default().grace_period(0)).await?;
        socket.ended().await?;
        visitor.until_at_desktop(&gateway, &host).await?;
        Websocket::open(&gateway, &mut visitor, &host).await?.speaks().await
    })
}

#[test]
fn while_the_api_server_is_down_desktops_stay_open_and_new_requests_are_accepted_for_a_while() -> Result<()> {
    with_fixture(async |fixture| {
        fixture.running("away").await?;
        let flags = ["--cache-limit", "15s"];
        let mut gateway = fixture.gateway("gateway-away", fixture.public_port, &flags).await?;
        let (mut visitor, host) = Visitor::at_desktop(&[&gateway], &fixture.stack, &alice(), "away", "desktop").await?;
        let mut socket = Websocket::open(&gateway, &mut visitor, &host).await?;
        let [_, api_server, ..] = fixture.stack.cluster.servers();
        api_server.crash(60)?;
        let gone = Instant::now();
        until_lost(&mut gateway).await?;
        ensure!(visitor.get(&gateway, &host, "/").await?.status == 200, "it must decide from its cache");
        let refused = visitor.until(&gateway, &host, |answer| answer.status == 503).await?;
        // The last sign of life may be some seconds old.
        ensure!(gone.elapsed() >= Duration::from_secs(9), "refused after {:?}", gone.elapsed());
        ensure!(refused.body.contains("lost touch with the cluster"), "{refused:?}");
        let (host_of_nobody, mut stranger) = (format!("nobody.{DOMAIN}"), Visitor::default());
        ensure!(stranger.get(&gateway, &host_of_nobody, "/").await?.status == 503);
        socket.speaks().await.context("an open websocket was cut")?;
        visitor.until(&gateway, &host, |answer| answer.status == 200).await?;
        ensure!(gone.elapsed() >= Duration::from_secs(60), "back after {:?}", gone.elapsed());
        socket.speaks().await
    })
}

/// The API server answers all other requests.
#[test]
fn a_gateway_whose_watches_are_refused_lets_users_in_from_its_cache_up_to_its_limit() -> Result<()> {
    with_fixture(async |fixture| {
        fixture.running("refused").await?;
        let flags = ["--cache-limit", "15s"];
        let mut gateway = fixture.gateway("gateway-refused", fixture.public_port, &flags).await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&gateway], &fixture.stack, &alice(), "refused", "desktop").await?;
        let roles = Api::<ClusterRole>::all(fixture.stack.cluster.admin());
        let role = roles.get("vdi-gateway").await?;
        for resource in ["vdisessions", "pods"] {
            let rules = role.rules.iter().flatten().cloned().map(|mut rule| {
                let is_about = rule.resources.iter().flatten().any(|about| about == resource);
                rule.verbs.retain(|verb| !is_about || verb != "watch");
                rule
            });
            let patch = Patch::Merge(json!({ "rules": rules.collect::<Vec<_>>() }));
            roles.patch("vdi-gateway", &PatchParams::default(), &patch).await?;
            let began = Instant::now();
            let lost = async {
                until_lost(&mut gateway).await?;
                ensure!(visitor.get(&gateway, &host, "/").await?.status == 200, "it must decide from its cache");
                visitor.until(&gateway, &host, |answer| answer.status == 503).await?;
                ensure!(began.elapsed() >= Duration::from_secs(10), "{resource}: refused after {:?}", began.elapsed());
                let (ready, why) = http::get(gateway.replica.address().await?, "/readyz").await?;
                let lines: Vec<&str> = why.lines().collect();
                ensure!(
                    ready == 503 && lines.len() == 2 && lines[0] == "lost touch with the cluster",
                    "{ready}: {why}"
                );
                ensure!(lines[1].starts_with(&format!("{resource}: ")) && lines[1].contains("cannot watch"), "{why}");
                Ok(())
            };
            let lost = lost.await;
            // Restored first, since other tests use this cluster too.
            let patch = Patch::Merge(json!({ "rules": role.rules }));
            roles.patch("vdi-gateway", &PatchParams::default(), &patch).await?;
            lost.with_context(|| format!("without the right to watch {resource}"))?;
            visitor.until(&gateway, &host, |answer| answer.status == 200).await?;
            gateway.replica.wait_until_ready().await?;
        }
        Ok(())
    })
}

/// Waits until the gateway notices that the API server is gone.
async fn until_lost(gateway: &mut Gateway) -> Result<()> {
    let is_lost = |page: &str| {
        let age = page.lines().find_map(|line| line.strip_prefix("vdi_gateway_cache_age_seconds "));
        age.and_then(|age| age.parse::<f64>().ok()).is_some_and(|age| age > 0.0)
    };
    until("the gateway's cache gets old", async || Ok(is_lost(&gateway.replica.metrics().await?))).await
}

#[test]
fn when_a_gateway_is_killed_another_serves_its_visitors_without_a_new_sign_in() -> Result<()> {
    with_fixture(async |fixture| {
        fixture.running("killed").await?;
        let first = fixture.gateway("gateway-killed", fixture.public_port, &[]).await?;
        let second = fixture.gateway("gateway-left", vdi_cluster::free_port()?, &[]).await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&first, &second], &fixture.stack, &alice(), "killed", "desktop").await?;
        let mut socket = Websocket::open(&first, &mut visitor, &host).await?;
        socket.speaks().await?;
        first.replica.kill()?;
        socket.ended().await?;
        Websocket::open(&second, &mut visitor, &host).await?.speaks().await?;
        ensure!(visitor.post(&second, &host, "/.vdi/renew", "").await?.status == 200);
        Ok(())
    })
}

#[test]
fn a_stopping_gateway_drains_open_connections_and_accepts_no_new_ones() -> Result<()> {
    with_fixture(async |fixture| {
        fixture.running("drained").await?;
        let gateway = fixture.gateway("gateway-drained", fixture.public_port, &["--drain", "3s"]).await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&gateway], &fixture.stack, &alice(), "drained", "desktop").await?;
        let mut socket = Websocket::open(&gateway, &mut visitor, &host).await?;
        let address = gateway.address();
        let stopping = tokio::task::spawn_blocking(move || gateway.replica.stop());
        let is_closed = async || Ok(tokio::net::TcpStream::connect(address).await.is_err());
        until("the gateway takes no more connections", is_closed).await?;
        socket.speaks().await.context("it was cut at once")?;
        socket.ended().await?;
        ensure!(stopping.await??.success());
        Ok(())
    })
}

#[test]
fn deleting_the_secret_of_keys_invalidates_every_token_and_new_links_still_work() -> Result<()> {
    with_fixture(async |fixture| {
        fixture.running("void").await?;
        let gateway = fixture.gateway("gateway-void", fixture.public_port, &[]).await?;
        let (mut visitor, host) = Visitor::at_desktop(&[&gateway], &fixture.stack, &alice(), "void", "desktop").await?;
        let (_, code) = gateway.link(&fixture.stack, &alice(), "void", "desktop").await?;
        let mut socket = Websocket::open(&gateway, &mut visitor, &host).await?;
        let secrets = Api::<Secret>::namespaced(fixture.stack.cluster.admin(), "vdiwarden-system");
        secrets.delete("vdi-gateway-keys", &DeleteParams::default()).await?;
        visitor.until(&gateway, &host, |answer| answer.status == 401).await?;
        ensure!(Visitor::default().post(&gateway, &host, "/.vdi/enter", &code).await?.status == 401, "an old link");
        socket.speaks().await.context("an open websocket was cut")?;
        let (mut again, _) = Visitor::at_desktop(&[&gateway], &fixture.stack, &alice(), "void", "desktop").await?;
        ensure!(again.get(&gateway, &host, "/").await?.status == 200);
        ensure!(visitor.get(&gateway, &host, "/").await?.status == 401);
        Ok(())
    })
}

/// While this exists, the API server accepts requests and answers none.
struct Hanging(u64);

impl Hanging {
    fn begin(fixture: &Fixture) -> Result<Self> {
        let [_, api_server, ..] = fixture.stack.cluster.servers();
        let process = api_server.pid().context("the API server doesn't run")?.into();
        signal("STOP", process)?;
        Ok(Self(process))
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = signal("CONT", self.0);
    }
}

#[test]
fn while_the_api_server_hangs_requests_over_the_limit_get_retry_after() -> Result<()> {
    with_fixture(async |fixture| {
        fixture.running("hanging").await?;
        let gateway = fixture.gateway("gateway-hanging", fixture.public_port, &[]).await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&gateway], &fixture.stack, &alice(), "hanging", "desktop").await?;
        let hanging = Hanging::begin(fixture)?;
        let ask = async || gateway.launch(&fixture.stack, &alice(), "hanging", "desktop").await;
        let mut asked: FuturesUnordered<_> = (0..40).map(|_| ask()).collect();
        for _ in 0..8 {
            let refused = timeout(Duration::from_secs(5), asked.next()).await.context("no request was refused")?;
            let refused = refused.context("no request is left")??;
            ensure!(refused.status == 503 && refused.header("retry-after") == "5", "{refused:?}");
        }
        ensure!(visitor.get(&gateway, &host, "/").await?.status == 200, "an open desktop stays open");
        ensure!(timeout(Duration::from_millis(500), asked.next()).await.is_err(), "more requests were refused");
        drop(hanging);
        while let Some(answer) = within("an answer to the requests that wait", asked.next()).await? {
            answer?.link()?;
        }
        Ok(())
    })
}
