//! From what somebody does at a desktop, through the gateway, to the controller that ends what nobody uses.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::{interval, sleep};
use vdi_api::Phase;
use vdi_tests::{
    objects::{Space, wait_gone},
    shared::{Shared, directory},
    site::Ground,
    stack::alice,
    visitor::Visitor,
    websocket::Websocket,
};

struct Site {
    ground: Ground,
    operations: String,
    token: tempfile::NamedTempFile,
}

async fn start() -> Result<Site> {
    let token = tempfile::NamedTempFile::new()?;
    std::fs::write(token.path(), "the controller's\n")?;
    let (path, operations) = (token.path().display().to_string(), format!("127.0.0.1:{}", vdi_cluster::free_port()?));
    let url = format!("http://{operations}/activity");
    let flags = ["--activity-url", &url, "--activity-token-file", &path];
    Ok(Site { ground: Ground::with_controller(&directory(), &flags).await?, operations, token })
}

/// Masked with zeros, which changes nothing.
fn message(payload: &[u8]) -> Vec<u8> {
    [&[0x82, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

const VERSION: &[u8] = b"RFB 003.008\n";
const UPDATE_REQUEST: &[u8] = &[3, 1, 0, 0, 0, 0, 4, 0, 3, 0];
const KEY: &[u8] = &[4, 1, 0, 0, 0, 0, 0, 0x61];

#[test]
fn a_desktop_that_is_merely_open_ends_and_one_at_which_somebody_types_or_says_so_does_not() -> Result<()> {
    static SITE: Shared<Site> = Shared::new();
    SITE.with(start, async |Site { ground, operations, token }| {
        let token = token.path().display().to_string();
        let flags = ["--operations-listen", operations, "--activity-token-file", &token];
        let gateway = ground.gateway("gateway", ground.public_port, &flags).await?;
        let space = Space::new(&ground.stack, "activity").await?;
        space.template(json!({ "port": ground.desktop_port, "idleTimeout": "20s" })).await?;
        let mut open = Vec::new();
        for name in ["typed", "stayed", "watched"] {
            space.session(name).await?;
            space.wait_running(name).await?;
            let (mut visitor, host) =
                Visitor::at_desktop(&[&gateway], &ground.stack, &alice(), "activity", name).await?;
            let mut socket = Websocket::open(&gateway, &mut visitor, &host).await?;
            socket.send(&message(VERSION)).await?;
            open.push((visitor, host, socket));
        }
        let [(_, _, typed), (stayed, stays_at, _), (.., watched)] = &mut open[..] else { unreachable!() };
        let use_them = async {
            let mut clock = interval(Duration::from_secs(2));
            loop {
                clock.tick().await;
                typed.send(&message(KEY)).await?;
                // One that is cut by then.
                let _ = watched.send(&message(UPDATE_REQUEST)).await;
                let answer = stayed.post(&gateway, stays_at, "/.vdi/stay", "").await?;
                ensure!(answer.status == 200, "{answer:?}");
            }
        };
        let see_it_end = async {
            let start = Instant::now();
            wait_gone(&space.sessions, "watched").await?;
            ensure!(start.elapsed() > Duration::from_secs(10), "it ended after {:?}", start.elapsed());
            space.wait_event("watched", "Idle").await?;
            // The others have been there for longer.
            sleep(Duration::from_secs(10)).await;
            anyhow::Ok(())
        };
        let ended = tokio::select! {
            ended = see_it_end => ended,
            used = use_them => used,
        };
        ended?;
        for name in ["typed", "stayed"] {
            let status = space.sessions.get(name).await?.status.unwrap_or_default();
            ensure!(status.phase == Phase::Running, "{name}: {status:?}");
        }
        // From here on, nobody uses them either.
        wait_gone(&space.sessions, "typed").await?;
        wait_gone(&space.sessions, "stayed").await
    })
}
