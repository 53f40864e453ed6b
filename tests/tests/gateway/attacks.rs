//! Attacks by strangers, other users and other sites' pages.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vdi_tests::{
    gateway::DOMAIN,
    objects::{create, delete},
    stack::{alice, bob, carol},
    test_namespace::TestNamespace,
    visitor::Visitor,
};

use crate::{session_of, with_site};

#[test]
fn strangers_and_other_users_cannot_open_a_desktop() -> Result<()> {
    with_site(async |site| {
        let namespace = site.running("strangers").await?;
        let mut bobs = session_of("bob@example.com", "strangers");
        bobs.metadata.name = Some("bobs".to_owned());
        create(&namespace.sessions, &bobs).await?;
        namespace.wait_running("bobs").await?;
        let (alices, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "strangers", "desktop").await?;
        let (bobs, bobs_host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &bob(), "strangers", "bobs").await?;

        let answer = Visitor::default().get(&site.first, &host, "/").await?;
        ensure!(answer.status == 401 && !answer.body.contains("alice"), "{answer:?}");
        // Each sends their own cookie to the other's host.
        for (visitor, own, other) in [(&alices, &host, &bobs_host), (&bobs, &bobs_host, &host)] {
            let mut thief = visitor.clone();
            thief.steal(visitor, own, other);
            let answer = thief.get(&site.second, other, "/").await?;
            ensure!(answer.status == 401 && !answer.body.contains("a desktop was asked"), "{answer:?}");
        }
        // Bob asks for links to alice's desktop and to one that doesn't exist. He can't tell them apart.
        for name in ["desktop", "nothing"] {
            let answer = site.first.launch(&site.stack, &bob(), "strangers", name).await?;
            ensure!(
                answer.status == 404 && answer.body == "there is no session of that name that you may open\n",
                "{answer:?}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_visitor_sent_by_another_site_has_to_confirm_before_entering() -> Result<()> {
    with_site(async |site| {
        site.running("asked").await?;
        let (host, _) = site.first.link(&site.stack, &alice(), "asked", "desktop").await?;
        for (from, asks) in [("cross-site", true), ("same-site", false), ("none", false)] {
            let headers = [("sec-fetch-site", from.to_owned())];
            let page =
                Visitor::default().ask(&site.first, &host, Method::GET, "/.vdi/enter", &headers, String::new()).await?;
            ensure!(
                page.status == 200 && page.body.contains("<main class=\"card\" data-asks>") == asks,
                "{from}: {page:?}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_request_head_larger_than_any_browser_sends_is_refused() -> Result<()> {
    with_site(async |site| {
        let one = format!("X-Large: {}\r\n", "a".repeat(8000));
        let many = "X-Many: a\r\n".repeat(1000);
        for bomb in [one.repeat(20), many] {
            let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n{bomb}\r\n", site.first.authority(DOMAIN));
            let answer = raw(site.first.connect(DOMAIN).await?, &request).await?;
            ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
        Ok(())
    })
}

#[test]
fn a_desktops_page_cannot_register_a_service_worker() -> Result<()> {
    with_site(async |site| {
        site.running("worker").await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "worker", "desktop").await?;
        for header in [("service-worker", "script"), ("sec-fetch-dest", "serviceworker")] {
            let headers = [(header.0, header.1.to_owned())];
            let answer = visitor.ask(&site.first, &host, Method::GET, "/sw.js", &headers, String::new()).await?;
            ensure!(answer.status == 403, "{answer:?}");
        }
        Ok(())
    })
}

#[test]
fn no_file_of_the_gateway_is_served_as_a_service_worker() -> Result<()> {
    with_site(async |site| {
        site.running("own-worker").await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "own-worker", "desktop").await?;
        // The only file with a URL of its own: the scripts of the gateway's pages are inline.
        for (host, path) in [(&*host, "/.vdi/icon.svg"), (DOMAIN, "/.vdi/icon.svg")] {
            ensure!(visitor.get(&site.first, host, path).await?.status == 200, "{path}");
            for header in [("service-worker", "script"), ("sec-fetch-dest", "serviceworker")] {
                let headers = [(header.0, header.1.to_owned())];
                let answer = visitor.ask(&site.first, host, Method::GET, path, &headers, String::new()).await?;
                ensure!(answer.status == 403, "{path}: {header:?}: {answer:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_header_that_some_servers_mistake_for_another_never_reaches_a_desktop() -> Result<()> {
    with_site(async |site| {
        site.running("odd-names").await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "odd-names", "desktop").await?;
        let names = [
            "x_forwarded_for",
            "X_Forwarded_User",
            "x-forwarded_host",
            "x.forwarded.proto",
            "remote_user",
            "x_vdi_user",
        ];
        let headers = names.map(|name| (name, "10.0.0.1".to_owned()));
        let answer = visitor.ask(&site.first, &host, Method::GET, "/", &headers, String::new()).await?;
        ensure!(answer.body.contains("\nodd names: []\n"), "{answer:?}");
        Ok(())
    })
}

#[test]
fn a_link_works_only_once_across_replicas() -> Result<()> {
    with_site(async |site| {
        site.running("once").await?;
        // Afterwards both replicas know the session.
        Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "once", "desktop").await?;
        let (host, code) = site.first.link(&site.stack, &alice(), "once", "desktop").await?;
        // Used at both replicas at the same time, it lets exactly one visitor in.
        let mut visitors: Vec<Visitor> = vec![Visitor::default(); 8];
        let gateways = [&site.first, &site.second];
        let attempts = visitors
            .iter_mut()
            .enumerate()
            .map(|(n, visitor)| visitor.post(gateways[n % 2], &host, "/.vdi/enter", &code));
        let answers = futures::future::try_join_all(attempts).await?;
        let entered = answers.iter().filter(|answer| answer.status == 200).count();
        ensure!(entered == 1, "{entered} got in: {answers:#?}");
        ensure!(visitors.iter().filter(|visitor| visitor.cookies(&host).is_some()).count() == 1);
        let late = Visitor::default().post(&site.second, &host, "/.vdi/enter", &code).await?;
        ensure!(late.status == 401 && late.header("set-cookie").is_empty(), "{late:?}");
        Ok(())
    })
}

/// The first response may have been lost with its connection, and the cookie with it.
#[test]
fn a_used_link_works_again_only_for_the_page_that_used_it() -> Result<()> {
    with_site(async |site| {
        site.running("shown-again").await?;
        Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "shown-again", "desktop").await?;
        let (host, code) = site.first.link(&site.stack, &alice(), "shown-again", "desktop").await?;
        for (gateway, attempt, status) in [
            (&site.first, "\nhers", 200),
            (&site.second, "\nhers", 200),
            (&site.first, "\nhis", 401),
            (&site.second, "\n", 401),
            (&site.first, "", 401),
        ] {
            let answer = Visitor::default().post(gateway, &host, "/.vdi/enter", &format!("{code}{attempt}")).await?;
            ensure!(answer.status == status, "{attempt:?}: {answer:?}");
        }
        // Two requests that name no attempt are never the same attempt.
        let (host, code) = site.first.link(&site.stack, &alice(), "shown-again", "desktop").await?;
        for status in [200, 401] {
            let answer = Visitor::default().post(&site.first, &host, "/.vdi/enter", &format!("{code}\n")).await?;
            ensure!(answer.status == status, "{answer:?}");
        }
        Ok(())
    })
}

#[test]
fn a_websocket_from_another_sites_page_is_refused() -> Result<()> {
    with_site(async |site| {
        site.running("hijack").await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "hijack", "desktop").await?;
        let foreign =
            [None, Some("https://evil.com".to_owned()), Some(format!("https://bob.{DOMAIN}")), Some("null".to_owned())];
        for origin in foreign {
            let mut headers = vec![("connection", "upgrade".to_owned()), ("upgrade", "websocket".to_owned())];
            headers.extend(origin.clone().map(|origin| ("origin", origin)));
            let answer = visitor.ask(&site.first, &host, Method::GET, "/websockify", &headers, String::new()).await?;
            ensure!(answer.status == 403, "{origin:?}: {answer:?}");
        }
        Ok(())
    })
}

#[test]
fn a_request_for_an_unknown_host_is_refused() -> Result<()> {
    with_site(async |site| {
        let namespace = site.running("hosts").await?;
        let (visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "hosts", "desktop").await?;
        let pod =
            namespace.pods.get("vdi-desktop").await?.status.and_then(|status| status.pod_ip).context("no address")?;
        for name in ["evil.com".to_owned(), format!("a.{host}"), format!("{host}."), pod] {
            let (authority, cookie) = (site.first.authority(&name), visitor.cookies(&host).unwrap_or_default());
            let request =
                format!("GET / HTTP/1.1\r\nHost: {authority}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
            let answer = raw(site.first.connect(&host).await?, &request).await?;
            ensure!(answer.starts_with("HTTP/1.1 421 "), "{authority}: {answer}");
        }
        Ok(())
    })
}

/// Sends a request byte for byte, and returns everything that comes back.
async fn raw(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &str) -> Result<String> {
    // A gateway that has read enough hangs up before the rest is sent. What it answered says why.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer))
        .await
        .context("the connection stays open")?;
    // A connection that ends without TLS's close_notify is fine.
    let _ = read;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn an_ambiguous_request_never_reaches_a_desktop() -> Result<()> {
    with_site(async |site| {
        site.running("smuggling").await?;
        let (visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "smuggling", "desktop").await?;
        let head = format!(
            "Host: {}\r\nCookie: {}\r\n",
            site.first.authority(&host),
            visitor.cookies(&host).unwrap_or_default()
        );
        for (what, request) in [
            ("two lengths", format!("POST / HTTP/1.1\r\n{head}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde")),
            ("a folded header", format!("POST / HTTP/1.1\r\n{head}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n")),
            (
                "an unknown transfer coding",
                format!("POST / HTTP/1.1\r\n{head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
            ),
            (
                "a space before the colon",
                format!("POST / HTTP/1.1\r\n{head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
            ),
            ("two hosts", format!("GET / HTTP/1.1\r\n{head}Host: evil.com\r\n\r\n")),
            ("a tunnel", format!("CONNECT 127.0.0.1:22 HTTP/1.1\r\n{head}\r\n")),
            ("another site's address", format!("GET https://evil.com/ HTTP/1.1\r\n{head}\r\n")),
        ] {
            let answer =
                raw(site.first.connect(&host).await?, &request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
                    .await?;
            ensure!(!answer.contains("a desktop was asked"), "{what}: {answer}");
            ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
        }
        Ok(())
    })
}

#[test]
fn a_client_that_does_not_send_the_whole_request_is_cut_off() -> Result<()> {
    with_site(async |site| {
        let mut stream = site.first.connect(DOMAIN).await?;
        let start = Instant::now();
        // A byte per second doesn't keep the connection open.
        let drip = async {
            for byte in format!("GET / HTTP/1.1\r\nHost: {DOMAIN}\r\nX-Slow: {}", "a".repeat(60)).bytes() {
                if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                    return Ok(());
                }
                let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 1024])).await;
                if let Ok(Ok(0) | Err(_)) = read {
                    return Ok(());
                }
            }
            anyhow::bail!("the gateway read the whole request")
        };
        drip.await?;
        ensure!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
        Ok(())
    })
}

#[test]
fn a_recreated_session_is_not_opened_by_cookies_or_links_of_the_first() -> Result<()> {
    with_site(async |site| {
        // Carol has no other session here, so it always gets the same host.
        let carols = session_of("carol@example.com", "again");
        let namespace = TestNamespace::new(&site.stack, "again").await?;
        namespace.template(json!({ "port": site.desktop_port })).await?;
        create(&namespace.sessions, &carols).await?;
        namespace.wait_running("desktop").await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &carol(), "again", "desktop").await?;
        let (_, code) = site.first.link(&site.stack, &carol(), "again", "desktop").await?;
        delete(&namespace.sessions, "desktop").await?;
        create(&namespace.sessions, &carols).await?;
        namespace.wait_running("desktop").await?;
        visitor
            .until(&site.first, &host, |answer| answer.status == 401)
            .await
            .context("the first session's cookie still works")?;
        let (_, new_host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &carol(), "again", "desktop").await?;
        ensure!(new_host == host, "{new_host} was {host}");
        ensure!(visitor.get(&site.first, &host, "/").await?.status == 401);
        let answer = Visitor::default().post(&site.first, &host, "/.vdi/enter", &code).await?;
        ensure!(answer.status == 401, "the first session's link still works: {answer:?}");
        Ok(())
    })
}
