//! The gateway as a forward-auth service, behind Debian's nginx with the configuration of deploy/forward-auth.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use http_body_util::Empty;
use hyper::{Method, Request};
use serde_json::json;
use vdi_api::Phase;
use vdi_tests::{
    fake_desktop::NOT_FOR_DESKTOPS,
    fixture::Fixture,
    gateway::{DOMAIN, Gateway},
    http,
    nginx::Nginx,
    objects::{create, session},
    setup,
    shared::{Shared, directory},
    stack::{alice, bob},
    test_namespace::TestNamespace,
    visitor::{Answer, Visitor},
    websocket::Websocket,
};

struct Site {
    // Dropped first, before the gateway.
    _nginx: Nginx,
    /// At its address behind nginx, which visitors use.
    gateway: Gateway,
    operations: SocketAddr,
    fixture: Fixture,
}

/// Runs a test on the shared site of this binary. Without nginx, the test is skipped, or fails in CI.
fn with_site(test: impl AsyncFnOnce(&'static Site) -> Result<()>) -> Result<()> {
    static SITE: Shared<Option<Site>> = Shared::new();
    SITE.with(start, async |site| match site {
        Some(site) => test(site).await,
        None => Ok(()),
    })
}

async fn start() -> Result<Option<Site>> {
    match setup::nginx().await {
        Err(why) if !vdi_cluster::is_root() && std::env::var_os("CI").is_none() => {
            eprintln!("skipped: {why}");
            return Ok(None);
        }
        installed => installed?,
    }
    let fixture = Fixture::start(&directory()).await?;
    let (front, port) = (loopback(fixture.public_port), vdi_cluster::free_port()?);
    let mut gateway = fixture.gateway("gateway", port, &[]).await?;
    let operations = gateway.replica.address().await?;
    let nginx = Nginx::start(&fixture.stack, front, loopback(port), operations).await?;
    Ok(Some(Site { _nginx: nginx, gateway: gateway.behind(front), operations, fixture }))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Site {
    /// Starts a desktop of alice's in a namespace of this name, and opens it. Returns its host too.
    async fn alice(&self, name: &str) -> Result<(TestNamespace, Visitor, String)> {
        let namespace = self.fixture.running(name).await?;
        let (mut visitor, host) = self.enter(name).await?;
        visitor.until(&self.gateway, &host, is_from_desktop).await?;
        Ok((namespace, visitor, host))
    }

    async fn enter(&self, name: &str) -> Result<(Visitor, String)> {
        Visitor::enter(&self.gateway, &self.fixture.stack, &alice(), name, "desktop").await
    }

    /// Sends a GET as a page at the host does, with additional headers.
    async fn get(&self, visitor: &mut Visitor, host: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        visitor.ask(&self.gateway, host, Method::GET, path, &headers, String::new()).await
    }

    /// Sends a request to /check as a proxy does. Returns the status and the upstream.
    async fn check(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<(u16, Option<String>)> {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.operations));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = http::send(request.body(Empty::<Bytes>::new())?).await?;
        let upstream = answer.headers().get("x-vdi-upstream").map(|value| value.to_str().map(str::to_owned));
        Ok((answer.status().as_u16(), upstream.transpose()?))
    }
}

/// Whether a desktop responded, and not the gateway.
fn is_from_desktop(answer: &Answer) -> bool {
    answer.body.contains("a desktop was asked")
}

#[test]
fn the_owner_enters_by_a_link_and_nginx_connects_to_the_desktop_itself() -> Result<()> {
    with_site(async |site| {
        let (_, mut visitor, host) = site.alice("owner").await?;
        let page = visitor.open(&site.gateway, &host, "/").await?;
        ensure!(
            page.status == 200 && page.body.contains(r#"data-path="/vnc.html""#),
            "the page around the desktop: {page:?}"
        );

        let answer = site.get(&mut visitor, &host, "/itself?a=b%2F..%2Fc", &[]).await?;
        ensure!(answer.body.starts_with("a desktop was asked for /itself?a=b%2F..%2Fc at alice"), "{answer:?}");
        ensure!(answer.header("server").starts_with("nginx"), "{answer:?}");
        ensure!(answer.header("x-frame-options") == "SAMEORIGIN", "{answer:?}");
        let log = site.gateway.replica.log()?;
        ensure!(log.contains("/.vdi/enter") && !log.contains("/itself"), "the gateway proxied the request: {log}");
        Ok(())
    })
}

#[test]
fn a_desktop_sees_its_own_cookies_and_nothing_of_the_gateways() -> Result<()> {
    with_site(async |site| {
        let (_, visitor, host) = site.alice("cookies").await?;
        let ours = visitor.cookies(&host).context("no cookie")?;
        for (sent, seen) in [
            (ours.clone(), "-"),
            (format!("a=1; {ours}; b=2"), "a=1; b=2"),
            (format!("a=1; {ours}"), "a=1"),
            (format!("{ours};b=2"), "b=2"),
            (format!("__Host-vdi-login=x; a=1; {ours};  __host-VDI-attempt=y; b=2"), "a=1; b=2"),
            (format!("__Host-vdi-1=x; __Host-vdi-2=x; __Host-vdi-3=x; a=1; {ours}"), "-"),
        ] {
            let answer = site.get(&mut Visitor::default(), &host, "/", &[("cookie", &sent)]).await?;
            ensure!(answer.body.contains(&format!("\ncookie: {seen}\n")), "{sent}: {answer:?}");
        }
        Ok(())
    })
}

#[test]
fn a_stranger_gets_the_sign_in_page_and_never_the_desktop() -> Result<()> {
    with_site(async |site| {
        let (_, _, host) = site.alice("strangers").await?;
        for path in ["/", "/vnc.html", "/websockify", "/%2Evdi/x", "//.vdi/x", "/x/../.vdi/x", "/mischief/"] {
            for page in [true, false] {
                let mut stranger = Visitor::default();
                let answer = match page {
                    true => stranger.open(&site.gateway, &host, path).await?,
                    false => stranger.get(&site.gateway, &host, path).await?,
                };
                ensure!(answer.status == 401 && answer.body.contains("Sign in first"), "{path}: {answer:?}");
                ensure!(!is_from_desktop(&answer) && !answer.body.contains("alice"), "{path}: {answer:?}");
            }
        }
        // nginx normalizes this to /vnc.html, and the gateway takes it for a path of its own.
        let answer = Visitor::default().get(&site.gateway, &host, "/.vdi/../vnc.html").await?;
        ensure!(answer.status == 404 && !is_from_desktop(&answer), "{answer:?}");
        // The page's icon is public, and the location of nginx's subrequests is internal.
        let icon = Visitor::default().get(&site.gateway, &host, "/.vdi/icon.svg").await?;
        ensure!(icon.status == 200 && icon.header("content-type").starts_with("image/svg"), "{icon:?}");
        ensure!(Visitor::default().get(&site.gateway, &host, "/.vdi/check").await?.status == 404);
        Ok(())
    })
}

#[test]
fn the_cookie_of_another_session_is_refused() -> Result<()> {
    with_site(async |site| {
        let (namespace, alices, host) = site.alice("others").await?;
        let mut bobs = session("bobs", "others");
        bobs.spec.user = "bob@example.com".to_owned();
        create(&namespace.sessions, &bobs).await?;
        namespace.wait_running("bobs").await?;
        let (mut bobs, bobs_host) =
            Visitor::enter(&site.gateway, &site.fixture.stack, &bob(), "others", "bobs").await?;
        bobs.until(&site.gateway, &bobs_host, is_from_desktop).await?;
        for (visitor, own, other) in [(&alices, &host, &bobs_host), (&bobs, &bobs_host, &host)] {
            let mut thief = visitor.clone();
            ensure!(is_from_desktop(&thief.get(&site.gateway, own, "/").await?));
            thief.steal(visitor, own, other);
            let answer = thief.get(&site.gateway, other, "/").await?;
            ensure!(answer.status == 401 && !is_from_desktop(&answer), "{answer:?}");
        }
        Ok(())
    })
}

#[test]
fn a_websocket_is_accepted_unless_it_comes_from_another_sites_page() -> Result<()> {
    with_site(async |site| {
        let (_, mut visitor, host) = site.alice("sockets").await?;
        let upgrade_from = |origin: Option<&str>| {
            let mut headers =
                vec![("connection", "keep-alive, Upgrade".to_owned()), ("upgrade", "websocket".to_owned())];
            headers.extend(origin.map(|origin| ("origin", origin.to_owned())));
            headers
        };
        Websocket::open(&site.gateway, &mut visitor, &host).await?.speaks().await?;

        for origin in [None, Some("https://evil.com"), Some("null"), Some(&*format!("https://bob.{DOMAIN}"))] {
            let headers = upgrade_from(origin);
            let answer = visitor.ask(&site.gateway, &host, Method::GET, "/websockify", &headers, String::new()).await?;
            ensure!(answer.status == 403, "{origin:?}: {answer:?}");
        }
        Ok(())
    })
}

#[test]
fn a_client_can_forge_neither_its_upstream_nor_its_identity() -> Result<()> {
    with_site(async |site| {
        let (_, mut visitor, host) = site.alice("forged").await?;
        let other = format!("bob.{DOMAIN}:{}", site.fixture.public_port);
        let nowhere = format!("http://127.0.0.1:{}", vdi_cluster::free_port()?);
        let forged = [
            ("x-vdi-upstream", &*nowhere),
            ("x-vdi-user", "root"),
            ("x-forwarded-host", &other),
            ("x-forwarded-user", "root"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-method", "DELETE"),
            ("authorization", "Bearer secret"),
            ("proxy-authorization", "Basic YTpi"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x_forwarded_user", "root"),
            ("remote_user", "root"),
        ];
        let answer = site.get(&mut visitor, &host, "/", &forged).await?;
        let own = site.gateway.authority(&host);
        let seen = format!(
            "authorization: -\nx-forwarded-for: 127.0.0.1\nx-forwarded-proto: https\nx-forwarded-host: {own}\n\
             x-forwarded-user: -\nx-vdi-upstream: -\nodd names: []\n"
        );
        ensure!(is_from_desktop(&answer) && answer.body.contains(&seen), "{answer:?}");
        // Without a cookie, no header opens the desktop.
        let desktop = format!("http://127.0.0.1:{}", site.fixture.desktop_port);
        for name in ["x-vdi-upstream", "x-forwarded-host", "x-forwarded-uri", "x-original-uri", "x-rewrite-url"] {
            for value in [&*desktop, &own, "/.vdi/icon.svg"] {
                let answer = site.get(&mut Visitor::default(), &host, "/", &[(name, value)]).await?;
                ensure!(answer.status == 401 && !is_from_desktop(&answer), "{name}: {value}: {answer:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_desktop_can_neither_control_nginx_nor_set_the_gateways_cookie() -> Result<()> {
    with_site(async |site| {
        let (_, mut visitor, host) = site.alice("mischief").await?;
        let answer = site.get(&mut visitor.clone(), &host, "/mischief", &[]).await?;
        ensure!(answer.status == 200 && answer.body == "mischief\n", "{answer:?}");
        let cookies: Vec<_> =
            answer.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()).collect();
        ensure!(cookies == ["__Host-vdi-session=stolen; Path=/", "own=1"], "browsers reject the first: {cookies:?}");
        let passed: Vec<_> = NOT_FOR_DESKTOPS.iter().filter(|(name, _)| answer.headers.contains_key(*name)).collect();
        ensure!(passed.is_empty(), "nginx passes {passed:?}");
        ensure!(is_from_desktop(&site.get(&mut visitor, &host, "/", &[]).await?));
        Ok(())
    })
}

#[test]
fn the_waiting_page_is_shown_while_the_desktop_is_not_running() -> Result<()> {
    with_site(async |site| {
        let (namespace, mut visitor, host) = site.alice("waiting").await?;
        namespace.change("desktop", json!({ "suspend": true })).await?;
        namespace.wait("desktop", Phase::Pending, "Suspended").await?;
        visitor.until(&site.gateway, &host, |page| page.body.contains("Suspended")).await?;
        let page = visitor.open(&site.gateway, &host, "/").await?;
        ensure!(page.status == 200 && page.body.contains("Suspended"), "{page:?}");
        let answer = visitor.post(&site.gateway, &host, "/upload", "a file").await?;
        ensure!(answer.status == 503 && !is_from_desktop(&answer), "{answer:?}");
        Ok(())
    })
}

#[test]
fn an_upload_reaches_the_desktop() -> Result<()> {
    with_site(async |site| {
        let (_, mut visitor, host) = site.alice("uploads").await?;
        let answer = visitor.post(&site.gateway, &host, "/upload", &"a".repeat(3_000_000)).await?;
        ensure!(is_from_desktop(&answer) && answer.body.ends_with("body: 3000000 bytes\n"), "{answer:?}");
        let headers = [("origin", "https://evil.com".to_owned())];
        let answer = visitor.ask(&site.gateway, &host, Method::POST, "/upload", &headers, "a".to_owned()).await?;
        ensure!(answer.status == 403, "another site's form: {answer:?}");
        Ok(())
    })
}

#[test]
fn a_proxy_learns_which_requests_go_to_the_desktop_and_which_to_the_gateway() -> Result<()> {
    with_site(async |site| {
        let (_, visitor, host) = site.alice("check").await?;
        let (authority, cookie) = (site.gateway.authority(&host), visitor.cookies(&host).context("no cookie")?);
        let own = format!("https://{authority}");
        let known = [("cookie", &*cookie), ("x-forwarded-host", &*authority)];
        let ask = async |method: &str, path: &str, more: &[(&str, &str)]| {
            site.check(method, path, &[&known[..], more].concat()).await
        };
        let (status, upstream) = ask("GET", "/check", &[]).await?;
        let upstream = upstream.context("no upstream")?;
        ensure!(status == 200 && upstream.ends_with(&format!(":{}", site.fixture.desktop_port)), "{status} {upstream}");
        ensure!(upstream.starts_with("http://127.64."), "{upstream}");
        let direct = (200, Some(upstream));
        let websocket = [("x-forwarded-upgrade", "websocket"), ("origin", &*own)];
        ensure!(ask("GET", "/check", &websocket).await? == direct);
        let page = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        ensure!(
            ask("GET", "/check", &page).await? == (200, None),
            "the page around the desktop comes from the gateway"
        );

        // nginx, Traefik and Caddy send the method in a header. Envoy keeps the method, and appends the path to /check.
        let foreign = [("origin", "https://evil.com"), page[0], page[1]];
        ensure!(ask("GET", "/check", &foreign).await?.0 == 200, "a link is followed");
        ensure!(ask("POST", "/check/", &foreign).await?.0 == 403, "a form is sent");
        ensure!(ask("GET", "/check", &[&foreign[..], &[("x-forwarded-method", "POST")]].concat()).await?.0 == 403);
        for path in ["/check/", "/check/a/b?c=d", "/check/../metrics"] {
            ensure!(ask("PROPFIND", path, &[]).await? == direct, "{path}");
        }
        let host = [("cookie", &*cookie), ("host", &*authority)];
        ensure!(site.check("GET", "/check/", &host).await? == direct, "Envoy asks with the same host");

        // A proxy that omits a header, or leaves it to the client, lets nobody in.
        ensure!(
            ask("GET", "/check", &[("sec-websocket-version", "13")]).await?.0 == 403,
            "a websocket without an origin"
        );
        ensure!(ask("GET", "/check", &[("x-forwarded-host", "evil.com")]).await?.0 == 400);
        ensure!(ask("GET", "/check", &[("x-forwarded-method", "G E T")]).await?.0 == 400);
        ensure!(site.check("GET", "/check", &[("cookie", &cookie)]).await?.0 == 421);
        ensure!(site.check("GET", "/check", &[("x-forwarded-host", &authority)]).await?.0 == 401);
        Ok(())
    })
}

#[test]
fn websockets_of_a_desktop_with_an_idle_timeout_go_through_the_gateway() -> Result<()> {
    with_site(async |site| {
        let namespace = TestNamespace::new(&site.fixture.stack, "idle").await?;
        namespace.template(json!({ "port": site.fixture.desktop_port, "idleTimeout": "1h" })).await?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        let (visitor, host) = site.enter("idle").await?;
        let (authority, cookie) = (site.gateway.authority(&host), visitor.cookies(&host).context("no cookie")?);
        let origin = format!("https://{authority}");
        let known = [("cookie", &*cookie), ("x-forwarded-host", &authority), ("origin", &origin)];
        let (status, upstream) = site.check("GET", "/check", &known).await?;
        ensure!(status == 200 && upstream.is_some(), "a file");
        let websocket = [&known[..], &[("x-forwarded-upgrade", "websocket")]].concat();
        ensure!(site.check("GET", "/check", &websocket).await? == (200, None), "a websocket");
        Ok(())
    })
}
