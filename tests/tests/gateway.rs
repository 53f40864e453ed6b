//! The gateway in front of a real cluster: two replicas, a controller, and desktops on simulated nodes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vdi_api::{Phase, VDISession};
use vdi_cluster::User;
use vdi_tests::{
    gateway::{DOMAIN, Gateway, free_port},
    objects::{Space, create, delete, session, wait_gone},
    shared::{Shared, directory},
    site::Ground,
    stack::{alice, bob, carol},
    visitor::Visitor,
    websocket::Websocket,
};

struct Site {
    // The gateways go first.
    first: Gateway,
    second: Gateway,
    ground: Ground,
}

impl std::ops::Deref for Site {
    type Target = Ground;

    fn deref(&self) -> &Ground {
        &self.ground
    }
}

/// Runs a test on the site that the tests of this binary share.
fn with_site(test: impl AsyncFnOnce(&'static Site) -> Result<()>) -> Result<()> {
    static SITE: Shared<Site> = Shared::new();
    SITE.with(start, test)
}

async fn start() -> Result<Site> {
    let ground = Ground::start(&directory()).await?;
    let first = ground.gateway("gateway-1", ground.public_port, &[]).await?;
    let second = ground.gateway("gateway-2", free_port()?, &[]).await?;
    Ok(Site { first, second, ground })
}

/// Somebody's session `desktop`, of a template.
fn of(user: &str, template: &str) -> VDISession {
    let mut session = session("desktop", template);
    session.spec.user = user.to_owned();
    session
}

#[test]
fn the_owner_gets_in_by_a_link_and_the_desktop_sees_nothing_of_how() -> Result<()> {
    with_site(async |site| {
        site.running("owner").await?;
        let (mut visitor, host) = Visitor::enter(&site.first, &site.stack, &alice(), "owner", "desktop").await?;
        let page = visitor.open(&site.first, &host, "/").await?;
        ensure!(page.status == 200 && page.body.contains(r#"src="/vnc.html""#), "{page:?}");
        for gateway in [&site.first, &site.second] {
            let answer = visitor.get(gateway, &host, "/vnc.html?a=b").await?;
            ensure!(answer.body.starts_with("a desktop was asked for /vnc.html?a=b at alice"), "{answer:?}");
            ensure!(
                answer
                    .body
                    .contains("cookie: -\nauthorization: -\nx-forwarded-for: 127.0.0.1\nx-forwarded-proto: https\n")
            );
            ensure!(answer.header("x-frame-options") == "SAMEORIGIN", "{answer:?}");
        }
        Ok(())
    })
}

#[test]
fn nobody_else_gets_in() -> Result<()> {
    with_site(async |site| {
        let space = site.running("strangers").await?;
        let mut bobs = of("bob@example.com", "strangers");
        bobs.metadata.name = Some("bobs".to_owned());
        create(&space.sessions, &bobs).await?;
        space.wait_running("bobs").await?;
        let (alices, host) = Visitor::enter(&site.first, &site.stack, &alice(), "strangers", "desktop").await?;
        let (bobs, bobs_host) = Visitor::enter(&site.first, &site.stack, &bob(), "strangers", "bobs").await?;

        let answer = Visitor::default().get(&site.first, &host, "/").await?;
        ensure!(answer.status == 401 && !answer.body.contains("alice"), "{answer:?}");
        // Each with the other's cookie, at either host.
        for (visitor, own, other) in [(&alices, &host, &bobs_host), (&bobs, &bobs_host, &host)] {
            let mut thief = visitor.clone();
            thief.steal(visitor, own, other);
            let answer = thief.get(&site.second, other, "/").await?;
            ensure!(answer.status == 401 && !answer.body.contains("a desktop was asked"), "{answer:?}");
        }
        // Bob asks for a link to alice's desktop, and to one that isn't there: he can't tell which is which.
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
fn whom_rbac_lets_connect_gets_a_link_to_the_owners_desktop() -> Result<()> {
    with_site(async |site| {
        site.running("support").await?;
        ensure!(site.first.launch(&site.stack, &bob(), "support", "desktop").await?.status == 404);
        let binding =
            ["create", "rolebinding", "bob", "-n", "support", "--clusterrole=vdi-supporter", "--user=bob@example.com"];
        site.stack.kubectl_ok(&User::admin(), binding).await?;
        // The API server takes up a new role a moment after it was written.
        let mut answer = site.first.launch(&site.stack, &bob(), "support", "desktop").await?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while answer.status == 404 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer = site.first.launch(&site.stack, &bob(), "support", "desktop").await?;
        }
        let (host, code) = answer.link()?;
        let mut visitor = Visitor::default();
        ensure!(visitor.post(&site.first, &host, "/.vdi/enter", &code).await?.status == 200);
        ensure!(visitor.get(&site.first, &host, "/").await?.body.starts_with("a desktop was asked"));
        Ok(())
    })
}

#[test]
fn who_is_sent_to_a_link_by_another_site_is_asked_first() -> Result<()> {
    with_site(async |site| {
        site.running("asked").await?;
        let (host, _) = site.first.launch(&site.stack, &alice(), "asked", "desktop").await?.link()?;
        for (from, asks) in [("cross-site", true), ("same-site", false), ("none", false)] {
            let headers = [("sec-fetch-site", from.to_owned())];
            let page =
                Visitor::default().ask(&site.first, &host, Method::GET, "/.vdi/enter", &headers, String::new()).await?;
            ensure!(page.status == 200 && page.body.contains("data-asks") == asks, "{from}: {page:?}");
        }
        Ok(())
    })
}

#[test]
fn a_head_that_is_larger_than_any_browsers_is_refused() -> Result<()> {
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
fn a_desktops_page_can_keep_no_worker_in_the_browser() -> Result<()> {
    with_site(async |site| {
        site.running("worker").await?;
        let (mut visitor, host) = Visitor::enter(&site.first, &site.stack, &alice(), "worker", "desktop").await?;
        for header in [("service-worker", "script"), ("sec-fetch-dest", "serviceworker")] {
            let headers = [(header.0, header.1.to_owned())];
            let answer = visitor.ask(&site.first, &host, Method::GET, "/sw.js", &headers, String::new()).await?;
            ensure!(answer.status == 403, "{answer:?}");
        }
        Ok(())
    })
}

#[test]
fn who_was_let_in_to_help_asks_again_after_the_hour_and_the_owner_is_renewed() -> Result<()> {
    with_site(async |site| {
        let space = site.running("renewed").await?;
        let binding = [
            "create",
            "rolebinding",
            "helper",
            "-n",
            "renewed",
            "--clusterrole=vdi-supporter",
            "--user=carol@example.com",
        ];
        site.stack.kubectl_ok(&User::admin(), binding).await?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while site.first.launch(&site.stack, &carol(), "renewed", "desktop").await?.status != 200 {
            ensure!(Instant::now() < deadline, "the binding is not taken up");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (mut owner, host) = Visitor::enter(&site.first, &site.stack, &alice(), "renewed", "desktop").await?;
        let (mut helper, _) = Visitor::enter(&site.first, &site.stack, &carol(), "renewed", "desktop").await?;
        ensure!(helper.get(&site.first, &host, "/").await?.status == 200);
        ensure!(owner.post(&site.first, &host, "/.vdi/renew", "").await?.status == 200);
        ensure!(helper.post(&site.first, &host, "/.vdi/renew", "").await?.status == 403);
        delete(&space.sessions, "desktop").await
    })
}

#[test]
fn a_link_works_once_at_whichever_replica() -> Result<()> {
    with_site(async |site| {
        site.running("once").await?;
        let (host, code) = site.first.launch(&site.stack, &alice(), "once", "desktop").await?.link()?;
        // At the same moment, at both: one of them lets somebody in.
        let mut visitors: Vec<Visitor> = vec![Visitor::default(); 8];
        let gateways = [&site.first, &site.second];
        let tries = visitors
            .iter_mut()
            .enumerate()
            .map(|(n, visitor)| visitor.post(gateways[n % 2], &host, "/.vdi/enter", &code));
        let answers = futures::future::try_join_all(tries).await?;
        let entered = answers.iter().filter(|answer| answer.status == 200).count();
        ensure!(entered == 1, "{entered} got in: {answers:#?}");
        ensure!(visitors.iter().filter(|visitor| visitor.cookies(&host).is_some()).count() == 1);
        let late = Visitor::default().post(&site.second, &host, "/.vdi/enter", &code).await?;
        ensure!(late.status == 401 && late.header("set-cookie").is_empty(), "{late:?}");
        Ok(())
    })
}

#[test]
fn a_link_is_asked_for_with_a_token_that_is_for_the_gateway() -> Result<()> {
    with_site(async |site| {
        site.running("tokens").await?;
        let body = json!({ "namespace": "tokens", "name": "desktop" }).to_string();
        let ask = async |authorization: Option<String>, body: &str| {
            let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
            Visitor::default().ask(&site.first, DOMAIN, Method::POST, "/launch", &headers, body.to_owned()).await
        };
        // Of a service account: for the API server, and then for the gateway.
        let create = ["create", "serviceaccount", "visitor", "-n", "tokens"];
        site.stack.kubectl_ok(&User::admin(), create).await?;
        let token = async |audience: &str| {
            let audience = format!("--audience={audience}");
            site.stack.kubectl_ok(&User::admin(), ["create", "token", "visitor", "-n", "tokens", &audience]).await
        };
        let for_the_api_server = format!("Bearer {}", token("https://kubernetes.default.svc").await?.trim());
        let for_the_gateway = format!("Bearer {}", token("vdi-gateway").await?.trim());
        for (authorization, body, status) in [
            (None, &*body, 401),
            (Some("Bearer nonsense".to_owned()), &body, 401),
            (Some("Basic YTpi".to_owned()), &body, 401),
            (Some(for_the_api_server), &body, 401),
            // It is good, and yet no owner's.
            (Some(for_the_gateway.clone()), &body, 404),
            (Some(for_the_gateway), "{}", 400),
        ] {
            let answer = ask(authorization, body).await?;
            ensure!(answer.status.as_u16() == status, "{body}: {answer:?}");
        }
        Ok(())
    })
}

#[test]
fn a_websocket_is_cut_when_its_session_is_suspended_and_when_it_ends() -> Result<()> {
    with_site(async |site| {
        let space = site.running("cut").await?;
        let (mut visitor, host) = Visitor::enter(&site.first, &site.stack, &alice(), "cut", "desktop").await?;
        for change in ["suspend", "delete"] {
            let mut sockets = Vec::new();
            for gateway in [&site.first, &site.second] {
                let mut socket = Websocket::open(gateway, &mut visitor, &host).await?;
                socket.speaks().await?;
                sockets.push(socket);
            }
            let start = Instant::now();
            match change {
                "suspend" => drop(space.change("desktop", json!({ "suspend": true })).await?),
                _ => drop(space.sessions.delete("desktop", &Default::default()).await?),
            }
            for socket in &mut sockets {
                socket.ended().await?;
            }
            ensure!(start.elapsed() < Duration::from_secs(2), "{change} took {:?}", start.elapsed());
            if change == "suspend" {
                space.wait("desktop", Phase::Pending, "Suspended").await?;
                let page = visitor.open(&site.first, &host, "/").await?;
                ensure!(page.status == 200 && page.body.contains("Suspended"), "{page:?}");
                space.change("desktop", json!({ "suspend": false })).await?;
                space.wait_running("desktop").await?;
            }
        }
        let page = visitor.open(&site.first, &host, "/").await?;
        ensure!(page.status == 410 && page.body.contains("This session has ended"), "{page:?}");
        ensure!(Visitor::default().open(&site.first, &host, "/").await?.status == 401, "a stranger is not told");
        Ok(())
    })
}

#[test]
fn a_websocket_of_another_sites_page_is_refused() -> Result<()> {
    with_site(async |site| {
        site.running("hijack").await?;
        let (mut visitor, host) = Visitor::enter(&site.first, &site.stack, &alice(), "hijack", "desktop").await?;
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
fn the_waiting_page_is_told_what_becomes_of_the_session() -> Result<()> {
    with_site(async |site| {
        let space = Space::new(&site.stack, "waiting").await?;
        space.template(json!({ "port": site.desktop_port, "gpu": { "resourceName": "example.com/none" } })).await?;
        space.session("desktop").await?;
        space.wait("desktop", Phase::Pending, "Unschedulable").await?;
        let (mut visitor, host) = Visitor::enter(&site.first, &site.stack, &alice(), "waiting", "desktop").await?;
        let page = visitor.open(&site.first, &host, "/").await?;
        ensure!(page.status == 200 && page.body.contains("next in line for example.com/none"), "{page:?}");
        ensure!(
            page.header("cache-control") == "no-store"
                && page.header("content-security-policy").contains("default-src 'none'")
        );
        ensure!(visitor.get(&site.first, &host, "/.vdi/waiting.js").await?.status == 200);

        let response = visitor.send(&site.first, &host, Method::GET, "/.vdi/events", &[], String::new()).await?;
        ensure!(response.status() == 200, "{response:?}");
        let mut events = Events(response.into_body(), String::new());
        let first = events.next().await?;
        ensure!(first["isComing"] == true && first["isRunning"] == false, "{first}");
        space.change("desktop", json!({ "suspend": true })).await?;
        let mut now = first;
        while now["title"] != "Suspended" {
            now = events.next().await?;
        }
        delete(&space.sessions, "desktop").await?;
        while now != json!("gone") {
            now = events.next().await?;
        }
        Ok(())
    })
}

/// Server-sent events, as they come.
struct Events(hyper::body::Incoming, String);

impl Events {
    /// The data of the next, or `"gone"`.
    async fn next(&mut self) -> Result<Value> {
        use http_body_util::BodyExt;
        loop {
            if let Some((event, rest)) = self.1.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: ").or(line.strip_prefix("data:")));
                let data = data.map(str::to_owned);
                let is_gone = event.contains("event: gone");
                self.1 = rest.to_owned();
                match data {
                    _ if is_gone => return Ok(json!("gone")),
                    Some(data) => return Ok(serde_json::from_str(&data)?),
                    None => continue,
                }
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(60), self.0.frame()).await.context("nothing is told")?;
            let frame = frame.context("the events have ended")??;
            self.1 += &String::from_utf8_lossy(frame.data_ref().map_or(&[][..], |data| data));
        }
    }
}

#[test]
fn keys_are_the_same_at_both_replicas_and_verify_each_others_tokens() -> Result<()> {
    with_site(async |site| {
        let mut keys = Vec::new();
        for gateway in [&site.first, &site.second] {
            let answer = Visitor::default().get(gateway, DOMAIN, "/.well-known/jwks.json").await?;
            keys.push(serde_json::from_str::<Value>(&answer.body)?);
        }
        ensure!(keys[0] == keys[1] && keys[0]["keys"][0]["alg"] == "ES256", "{keys:?}");
        ensure!(!keys[0].to_string().contains("\"d\""), "the private half is not for everybody");
        Ok(())
    })
}

#[test]
fn a_new_key_is_known_everywhere_and_what_was_signed_with_the_old_one_stays_good() -> Result<()> {
    with_site(async |site| {
        site.running("rotation").await?;
        let (mut visitor, host) = Visitor::enter(&site.first, &site.stack, &alice(), "rotation", "desktop").await?;
        let keys = async || {
            let answer = Visitor::default().get(&site.first, DOMAIN, "/.well-known/jwks.json").await?;
            let keys: Value = serde_json::from_str(&answer.body)?;
            anyhow::Ok(keys["keys"].as_array().map_or(0, Vec::len))
        };
        let before = keys().await?;
        let _hasty = site.gateway("gateway-rotating", free_port()?, &["--key-rotation", "1s"]).await?;
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
fn a_gateway_that_starts_tidies_up_after_those_that_were_stopped() -> Result<()> {
    with_site(async |site| {
        let lease = |name: &str, used: &str| {
            serde_json::from_value::<Lease>(json!({
                "metadata": { "name": name, "labels": { "vdi.kasm.io/used-code": "true" } },
                "spec": { "acquireTime": used },
            }))
        };
        let leases = Api::<Lease>::namespaced(site.stack.cluster.admin(), "vdiwarden-system");
        create(&leases, &lease("over", "2026-01-01T12:00:00.000000Z")?).await?;
        create(&leases, &lease("fresh", "2126-01-01T12:00:00.000000Z")?).await?;
        let _gateway = site.gateway("gateway-tidy", free_port()?, &[]).await?;
        wait_gone(&leases, "over").await?;
        ensure!(leases.get_opt("fresh").await?.is_some());
        Ok(())
    })
}

#[test]
fn a_host_that_is_not_ours_is_answered_by_nobody() -> Result<()> {
    with_site(async |site| {
        let space = site.running("hosts").await?;
        let (visitor, host) = Visitor::enter(&site.first, &site.stack, &alice(), "hosts", "desktop").await?;
        let pod = space.pods.get("vdi-desktop").await?.status.and_then(|status| status.pod_ip).context("no address")?;
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

/// Sends exactly this, and returns all that comes back.
async fn raw(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &str) -> Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer))
        .await
        .context("it stays open")?;
    // A connection that is dropped without TLS' own goodbye has said what it had to say.
    let _ = read;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn a_request_that_could_be_read_in_two_ways_reaches_no_desktop() -> Result<()> {
    with_site(async |site| {
        site.running("smuggling").await?;
        let (visitor, host) = Visitor::enter(&site.first, &site.stack, &alice(), "smuggling", "desktop").await?;
        let head = format!(
            "Host: {}\r\nCookie: {}\r\n",
            site.first.authority(&host),
            visitor.cookies(&host).unwrap_or_default()
        );
        for (what, request) in [
            ("two lengths", format!("POST / HTTP/1.1\r\n{head}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde")),
            ("a folded header", format!("POST / HTTP/1.1\r\n{head}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n")),
            (
                "a coding that is no coding",
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
fn who_does_not_send_a_whole_request_is_cut_off() -> Result<()> {
    with_site(async |site| {
        let mut stream = site.first.connect(DOMAIN).await?;
        let start = Instant::now();
        // A byte a second keeps nothing open.
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
            anyhow::bail!("it was read to the end")
        };
        drip.await?;
        ensure!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
        Ok(())
    })
}

#[test]
fn a_session_that_was_made_again_is_not_opened_by_what_was_good_for_the_first() -> Result<()> {
    with_site(async |site| {
        // The only one of carol's here, so its host is always hers alone.
        let carols = of("carol@example.com", "again");
        let space = Space::new(&site.stack, "again").await?;
        space.template(json!({ "port": site.desktop_port })).await?;
        create(&space.sessions, &carols).await?;
        space.wait_running("desktop").await?;
        let (mut visitor, host) = Visitor::enter(&site.first, &site.stack, &carol(), "again", "desktop").await?;
        let (_, code) = site.first.launch(&site.stack, &carol(), "again", "desktop").await?.link()?;
        delete(&space.sessions, "desktop").await?;
        create(&space.sessions, &carols).await?;
        space.wait_running("desktop").await?;
        let (mut new, new_host) = Visitor::enter(&site.first, &site.stack, &carol(), "again", "desktop").await?;
        ensure!(new_host == host, "{new_host} was {host}");
        ensure!(new.get(&site.first, &host, "/").await?.status == 200);
        ensure!(visitor.get(&site.first, &host, "/").await?.status == 401, "its cookie was for the first");
        let answer = Visitor::default().post(&site.first, &host, "/.vdi/enter", &code).await?;
        ensure!(answer.status == 401, "its link was for the first: {answer:?}");
        Ok(())
    })
}

#[test]
fn the_controllers_token_opens_what_is_known_about_activity_and_nothing_else_does() -> Result<()> {
    with_site(async |site| {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), "secret\n")?;
        let flags = ["--activity-token-file", &file.path().display().to_string()];
        let mut gateway = site.gateway("gateway-activity", free_port()?, &flags).await?;
        let address = gateway.replica.address().await?;
        let (status, _) = vdi_tests::http::get(address, "/activity").await?;
        ensure!(status == 401);
        let (status, body) = vdi_tests::http::get_with_token(address, "/activity", "secret").await?;
        ensure!(status == 200 && body.contains("watchingFor"), "{body}");
        ensure!(vdi_tests::http::get_with_token(address, "/activity", "secre").await?.0 == 401);
        Ok(())
    })
}
