//! Keys, replicas and open connections.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::Api;
use serde_json::{Value, json};
use vdi_api::Phase;
use vdi_tests::{
    gateway::{DOMAIN, Gateway, GatewayLaunch},
    objects::{create, wait_gone},
    stack::alice,
    visitor::Visitor,
    websocket::Websocket,
};

use crate::with_site;

#[test]
fn a_websocket_is_cut_when_its_session_is_suspended_and_when_it_ends() -> Result<()> {
    with_site(async |site| {
        let namespace = site.running("cut").await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "cut", "desktop").await?;
        for change in ["suspend", "delete"] {
            let mut sockets = Vec::new();
            for gateway in [&site.first, &site.second] {
                let mut socket = Websocket::open(gateway, &mut visitor, &host).await?;
                socket.speaks().await?;
                sockets.push(socket);
            }
            let start = Instant::now();
            match change {
                "suspend" => drop(namespace.change("desktop", json!({ "suspend": true })).await?),
                _ => drop(namespace.sessions.delete("desktop", &Default::default()).await?),
            }
            for socket in &mut sockets {
                socket.ended().await?;
            }
            ensure!(start.elapsed() < Duration::from_secs(2), "{change} took {:?}", start.elapsed());
            if change == "suspend" {
                namespace.wait("desktop", Phase::Pending, "Suspended").await?;
                visitor.until(&site.first, &host, |page| page.body.contains("Suspended")).await?;
                namespace.change("desktop", json!({ "suspend": false })).await?;
                for gateway in [&site.first, &site.second] {
                    visitor.until_at_desktop(gateway, &host).await?;
                }
            }
        }
        let page = visitor.until(&site.first, &host, |page| page.status == 410).await?;
        ensure!(page.body.contains("This session has ended"), "{page:?}");
        ensure!(
            Visitor::default().open(&site.first, &host, "/").await?.status == 401,
            "a stranger learns that it existed"
        );
        Ok(())
    })
}

#[test]
fn where_the_pods_networks_are_named_wrongly_the_page_and_the_log_say_which_address_and_which_setting() -> Result<()> {
    with_site(async |site| {
        site.running("misnamed").await?;
        let start = async |name, networks: &str| {
            let flags = ["--pod-cidr", networks].map(str::to_owned).into();
            let launch = GatewayLaunch { name, port: vdi_cluster::free_port()?, public_port: site.public_port, flags };
            Gateway::start(&site.stack, launch).await
        };
        let wrong = start("gateway-without-networks", "10.244.0.0/16,fd00::/8").await?;
        let (mut visitor, host) = Visitor::enter(&wrong, &site.stack, &alice(), "misnamed", "desktop").await?;
        let page = visitor.until(&wrong, &host, |page| page.body.contains("Ask your administrator")).await?;
        let pods: Api<Pod> = Api::namespaced(site.stack.cluster.admin(), "misnamed");
        let status = pods.get("vdi-desktop").await?.status;
        let address = status.and_then(|status| status.pod_ip).context("no address")?;
        let words =
            format!("may not connect to its address, {address}: the pods&#39; networks have to be in --pod-cidr");
        ensure!(page.status == 200 && page.body.contains(&words), "{page:?}");
        ensure!(!page.body.contains("as soon as it is running"), "{page:?}");
        let logged = format!("the desktop can't be opened: this gateway may not connect to its address, {address}");
        ensure!(wrong.replica.logged_times(&logged)? == 1, "{}", wrong.replica.log()?);
        // The administrator mends the setting.
        let right = start("gateway-with-networks", "127.64.0.0/16").await?;
        visitor.until_at_desktop(&right, &host).await?;
        ensure!(right.replica.logged_times("can't be opened")? == 0, "{}", right.replica.log()?);
        Ok(())
    })
}

/// For each established connection to this port, whether its keepalive timer runs: the field `tr` of proc_net_tcp(5).
fn keepalive_timers(port: u16) -> Result<Vec<bool>> {
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let connections = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let to_port = format!(":{port:04X}");
    let established =
        connections.filter(|fields| fields.len() > 5 && fields[2].ends_with(&to_port) && fields[3] == "01");
    Ok(established.map(|fields| fields[5].starts_with("02:")).collect())
}

#[test]
fn the_gateway_sends_tcp_keepalives_to_a_silent_desktop() -> Result<()> {
    with_site(async |site| {
        site.running("silent").await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&site.first], &site.stack, &alice(), "silent", "desktop").await?;
        let mut socket = Websocket::open(&site.first, &mut visitor, &host).await?;
        socket.speaks().await?;
        let start = Instant::now();
        // While data is in flight, the retransmission timer runs instead.
        let mut connections = keepalive_timers(site.desktop_port)?;
        while connections.is_empty() || connections.contains(&false) {
            ensure!(start.elapsed() < Duration::from_secs(30), "{connections:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
            connections = keepalive_timers(site.desktop_port)?;
        }
        Ok(())
    })
}

#[test]
fn both_replicas_publish_the_same_public_keys() -> Result<()> {
    with_site(async |site| {
        let mut keys = Vec::new();
        for gateway in [&site.first, &site.second] {
            let answer = Visitor::default().get(gateway, DOMAIN, "/.well-known/jwks.json").await?;
            keys.push(serde_json::from_str::<Value>(&answer.body)?);
        }
        ensure!(keys[0] == keys[1] && keys[0]["keys"][0]["alg"] == "ES256", "{keys:?}");
        ensure!(!keys[0].to_string().contains("\"d\""), "a private key is published");
        Ok(())
    })
}

#[test]
fn a_new_key_reaches_every_replica_and_tokens_of_the_old_one_stay_valid() -> Result<()> {
    with_site(async |site| {
        site.running("rotation").await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "rotation", "desktop").await?;
        let keys = async || {
            let answer = Visitor::default().get(&site.first, DOMAIN, "/.well-known/jwks.json").await?;
            let keys: Value = serde_json::from_str(&answer.body)?;
            anyhow::Ok(keys["keys"].as_array().map_or(0, Vec::len))
        };
        let before = keys().await?;
        let _rotating = site.gateway("gateway-rotating", vdi_cluster::free_port()?, &["--key-rotation", "1s"]).await?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while keys().await? == before {
            ensure!(Instant::now() < deadline, "there is no new key");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for gateway in [&site.first, &site.second] {
            ensure!(visitor.get(gateway, &host, "/").await?.status == 200);
            ensure!(visitor.post(gateway, &host, "/.vdi/renew", "").await?.status == 200);
        }
        Ok(())
    })
}

#[test]
fn a_starting_gateway_removes_expired_leases_of_used_codes() -> Result<()> {
    with_site(async |site| {
        let lease = |name: &str, used: &str| {
            serde_json::from_value::<Lease>(json!({
                "metadata": { "name": name, "labels": { "vdi.kasm.io/used-code": "true" } },
                "spec": { "acquireTime": used },
            }))
        };
        let leases = Api::<Lease>::namespaced(site.stack.cluster.admin(), "vdiwarden-system-codes");
        create(&leases, &lease("over", "2026-01-01T12:00:00.000000Z")?).await?;
        create(&leases, &lease("fresh", "2126-01-01T12:00:00.000000Z")?).await?;
        let _gateway = site.gateway("gateway-tidy", vdi_cluster::free_port()?, &[]).await?;
        wait_gone(&leases, "over").await?;
        ensure!(leases.get_opt("fresh").await?.is_some());
        Ok(())
    })
}

#[test]
fn the_activity_page_requires_the_controllers_token() -> Result<()> {
    with_site(async |site| {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), "secret\n")?;
        let flags = ["--activity-token-file", &file.path().display().to_string()];
        let mut gateway = site.gateway("gateway-activity", vdi_cluster::free_port()?, &flags).await?;
        let address = gateway.replica.address().await?;
        let (status, _) = vdi_tests::http::get(address, "/activity").await?;
        ensure!(status == 401);
        let (status, body) = vdi_tests::http::get_with_token(address, "/activity", "secret").await?;
        ensure!(status == 200 && body.contains(r#""isOver":false"#), "{body}");
        ensure!(vdi_tests::http::get_with_token(address, "/activity", "secre").await?.0 == 401);
        Ok(())
    })
}
