//! Limits on connections, requests and time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{sleep, timeout},
};
use vdi_tests::{gateway::DOMAIN, stack::alice, visitor::Visitor, websocket::Websocket};

use crate::with_site;

#[test]
fn a_connection_over_the_limit_is_closed_at_once_until_another_one_ends() -> Result<()> {
    with_site(async |site| {
        site.running("full").await?;
        let flags = ["--max-connections", "3"];
        let mut gateway = site.gateway("gateway-full", vdi_cluster::free_port()?, &flags).await?;
        let (mut visitor, host) = Visitor::at_desktop(&[&gateway], &site.stack, &alice(), "full", "desktop").await?;
        // Open websockets count, and so do connections that haven't sent a request yet.
        let mut socket = Websocket::open(&gateway, &mut visitor, &host).await?;
        let mut connections = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while connections.len() < 2 {
            // One of the visitor's connections may still be closing.
            connections.extend(gateway.connect(DOMAIN).await.ok());
            ensure!(Instant::now() < deadline, "no connection is accepted");
        }
        let began = Instant::now();
        ensure!(gateway.connect(DOMAIN).await.is_err(), "a fourth connection was accepted");
        ensure!(began.elapsed() < Duration::from_secs(1), "it was closed after {:?}", began.elapsed());
        let metrics = gateway.replica.metrics().await?;
        ensure!(!metrics.contains("\nvdi_gateway_connections_refused_total 0\n"), "{metrics}");
        socket.speaks().await.context("what is open stays open")?;

        drop(socket);
        let deadline = Instant::now() + Duration::from_secs(5);
        while gateway.connect(DOMAIN).await.is_err() {
            ensure!(Instant::now() < deadline, "no connection is accepted again");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
}

#[test]
fn an_idle_keep_alive_connection_is_closed() -> Result<()> {
    with_site(async |site| {
        let mut stream = site.first.connect(DOMAIN).await?;
        let request = format!("GET /.vdi/icon.svg HTTP/1.1\r\nHost: {}\r\n\r\n", site.first.authority(DOMAIN));
        stream.write_all(request.as_bytes()).await?;
        let (began, mut answer) = (Instant::now(), Vec::new());
        let read = timeout(Duration::from_secs(25), stream.read_to_end(&mut answer))
            .await
            .context("the connection stays open")?;
        // It may end without TLS's close_notify.
        let _ = read;
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        ensure!(began.elapsed() > Duration::from_secs(5), "it closed too early for another request");
        Ok(())
    })
}

#[test]
fn a_client_that_does_not_send_the_rest_of_a_short_body_gets_408() -> Result<()> {
    with_site(async |site| {
        site.running("slow").await?;
        let (_, host) = Visitor::at_desktop(&[&site.first], &site.stack, &alice(), "slow", "desktop").await?;
        let enter = format!("Origin: https://{}\r\n", site.first.authority(&host));
        let launch = "Authorization: Bearer a\r\n";
        let attempts =
            [(&*host, "/.vdi/enter", &*enter), (DOMAIN, "/launch", launch)].map(async |(host, path, header)| {
                let authority = site.first.authority(host);
                let head = format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\n{header}Content-Length: 100\r\n\r\n");
                let mut stream = site.first.connect(host).await?;
                stream.write_all(head.as_bytes()).await?;
                let mut answer = [0; 12];
                let answered = async {
                    // A byte per second doesn't keep the connection open.
                    loop {
                        stream.write_all(b"a").await?;
                        if let Ok(read) = timeout(Duration::from_secs(1), stream.read_exact(&mut answer)).await {
                            return read;
                        }
                    }
                };
                timeout(Duration::from_secs(25), answered).await.context("the connection stays open")??;
                ensure!(&answer == b"HTTP/1.1 408", "{path}: {}", String::from_utf8_lossy(&answer));
                Ok(())
            });
        join_all(attempts).await.into_iter().collect()
    })
}

#[test]
fn signing_in_while_the_provider_is_overloaded_gets_retry_after() -> Result<()> {
    with_site(async |site| {
        // A provider that accepts connections and never responds.
        let silent = TcpListener::bind("127.0.0.1:0").await?;
        let issuer = format!("http://{}", silent.local_addr()?);
        let flags = ["--oidc-issuer", &issuer, "--oidc-client-id", "a"];
        let gateway = site.gateway("gateway-silent", vdi_cluster::free_port()?, &flags).await?;
        let answers = join_all((0..40).map(async |_| {
            let began = Instant::now();
            let answer = Visitor::default().get(&gateway, DOMAIN, "/.vdi/sign-in").await?;
            anyhow::Ok((answer, began.elapsed()))
        }));
        let (mut waited, mut refused) = (0, 0);
        for answer in answers.await {
            let (answer, after) = answer?;
            match answer.status.as_u16() {
                502 => waited += 1,
                503 => {
                    ensure!(
                        answer.header("retry-after") == "5" && answer.body.contains("in a few seconds"),
                        "{answer:?}"
                    );
                    ensure!(after < Duration::from_secs(8), "refused after {after:?}");
                    refused += 1;
                }
                _ => anyhow::bail!("{answer:?}"),
            }
        }
        ensure!((waited, refused) == (32, 8), "{waited} waited, {refused} were refused");
        Ok(())
    })
}
