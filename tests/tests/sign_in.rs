//! Signing in at a real OpenID provider, and from there to a desktop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::Method;
use tokio::sync::Mutex;
use vdi_cluster::User;
use vdi_tests::{
    fixture::Fixture,
    gateway::{DOMAIN, Gateway},
    objects::{create, session},
    oidc::{self, OidcProvider},
    shared::{Shared, directory},
    test_namespace::TestNamespace,
    visitor::{Answer, Visitor},
};

struct Site {
    gateway: Gateway,
    provider: Mutex<Option<OidcProvider>>,
    provider_port: u16,
    fixture: Fixture,
}

/// Runs a test on the shared site of this binary.
fn with_site(test: impl AsyncFnOnce(&'static Site) -> Result<()>) -> Result<()> {
    static SITE: Shared<Site> = Shared::new();
    SITE.with(start, test)
}

async fn start() -> Result<Site> {
    let fixture = Fixture::start(&directory()).await?;
    let provider_port = vdi_cluster::free_port()?;
    let provider = OidcProvider::start(&fixture.stack.cluster.logs(), provider_port, &fixture.public_url()).await?;
    let flags = provider.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let gateway = fixture.gateway("gateway", fixture.public_port, &flags).await?;
    Ok(Site { gateway, provider: Mutex::new(Some(provider)), provider_port, fixture })
}

impl Site {
    /// Starts a user's session. Returns its host.
    async fn desktop_of(&self, user: &str) -> Result<String> {
        let name = user.split('@').next().unwrap_or_default();
        let namespace = TestNamespace::new(&self.fixture.stack, name).await?;
        namespace.template(serde_json::json!({ "port": self.fixture.desktop_port })).await?;
        let mut session = session("desktop", name);
        session.spec.user = user.to_owned();
        create(&namespace.sessions, &session).await?;
        namespace.wait_running("desktop").await?;
        // An administrator may connect to every session. Once they are connected, the gateway knows the session.
        let (stack, admin) = (&self.fixture.stack, User::admin());
        let (_, host) = Visitor::at_desktop(&[&self.gateway], stack, &admin, name, "desktop").await?;
        Ok(host)
    }

    fn url(&self, host: &str) -> String {
        format!("https://{}/", self.gateway.authority(host))
    }

    /// Opens a host's page, and signs in.
    async fn sign_in(&self, visitor: &mut Visitor, host: &str, account: &str) -> Result<(url::Url, Answer)> {
        let _provider = self.provider.lock().await;
        oidc::sign_in(visitor, &self.gateway, &self.url(host), account).await
    }
}

/// Does what the script on a link's page does.
async fn enter(site: &Site, visitor: &mut Visitor, url: &url::Url) -> Result<Answer> {
    ensure!(url.path() == "/.vdi/enter", "{url}");
    let (host, code) = (url.host_str().context("no host")?, url.fragment().context("no code")?);
    visitor.post(&site.gateway, host, "/.vdi/enter", code).await
}

#[test]
fn a_user_who_opens_their_desktop_signs_in_on_the_way_and_only_once() -> Result<()> {
    with_site(async |site| {
        let host = site.desktop_of("dora@example.com").await?;
        let mut visitor = Visitor::default();
        let (url, _) = site.sign_in(&mut visitor, &host, "dora@example.com").await?;
        ensure!(enter(site, &mut visitor, &url).await?.status == 200);
        ensure!(visitor.get(&site.gateway, &host, "/").await?.body.starts_with("a desktop was asked"));

        // Later: her token for the desktop is gone, and she is still signed in at the portal.
        let signed_in_at_the_portal = visitor.cookies(DOMAIN).context("no cookie at the portal")?;
        ensure!(signed_in_at_the_portal.starts_with("__Host-vdi-login="), "{signed_in_at_the_portal}");
        visitor.forget(&host);
        let (url, _) = visitor.follow(&site.gateway, &site.url(&host)).await?;
        ensure!(enter(site, &mut visitor, &url).await?.status == 200, "she had to sign in again: {url}");
        Ok(())
    })
}

#[test]
fn the_portal_lists_only_the_desktops_of_the_signed_in_user() -> Result<()> {
    with_site(async |site| {
        let (host, others) = (site.desktop_of("emil@example.com").await?, site.desktop_of("frida@example.com").await?);
        let mut visitor = Visitor::default();
        let before = visitor.open(&site.gateway, DOMAIN, "/").await?;
        ensure!(before.status == 200 && before.body.contains("Sign in") && !before.body.contains("emil"), "{before:?}");
        let own = [("sec-fetch-site", "same-origin".to_owned())];
        let list = visitor.ask(&site.gateway, DOMAIN, Method::GET, "/.vdi/sessions", &own, String::new()).await?;
        ensure!(list.status == 401, "{list:?}");

        let portal = format!("https://{}/.vdi/sign-in", site.gateway.authority(DOMAIN));
        let _provider = site.provider.lock().await;
        let (url, page) = oidc::sign_in(&mut visitor, &site.gateway, &portal, "emil@example.com").await?;
        ensure!(url.path() == "/" && page.body.contains("Signed in as emil@example.com"), "{url}: {page:?}");
        ensure!(page.body.contains(&format!("/.vdi/open?host={host}")) && !page.body.contains(&others), "{page:?}");

        // Emil's login opens his desktop, and not Frida's.
        let (url, _) = visitor.follow(&site.gateway, &site.url(&host)).await?;
        ensure!(enter(site, &mut visitor, &url).await?.status == 200);
        let (url, page) = visitor.follow(&site.gateway, &site.url(&others)).await?;
        ensure!(page.status == 403 && page.body.contains("This is not your desktop"), "{url}: {page:?}");

        let out = visitor.post(&site.gateway, DOMAIN, "/.vdi/sign-out", "").await?;
        ensure!(out.status == 303, "{out:?}");
        ensure!(visitor.open(&site.gateway, DOMAIN, "/").await?.body.contains("Sign in"));
        Ok(())
    })
}

#[test]
fn an_address_that_the_provider_has_not_verified_opens_nothing() -> Result<()> {
    with_site(async |site| {
        let host = site.desktop_of("gina@example.com").await?;
        let mut visitor = Visitor::default();
        let (url, page) = site.sign_in(&mut visitor, &host, "unverified+gina@example.com").await?;
        ensure!(page.status == 403 && page.body.contains("Your address is not verified"), "{url}: {page:?}");
        ensure!(visitor.get(&site.gateway, &host, "/").await?.status == 401);
        let logged = "no claim email_verified says so";
        ensure!(site.gateway.replica.logged_times(logged)? >= 1, "{}", site.gateway.replica.log()?);
        Ok(())
    })
}

/// As with Microsoft Entra ID, which says it by `xms_edov`.
#[test]
fn where_another_claim_says_that_an_address_is_verified_only_that_claim_lets_its_user_in() -> Result<()> {
    with_site(async |site| {
        let host = site.desktop_of("nora@example.com").await?;
        let flags = {
            let provider = site.provider.lock().await;
            let flags = provider.as_ref().context("no provider")?.flags();
            [flags, ["--oidc-email-verified-claim", "xms_edov"].map(str::to_owned).into()].concat()
        };
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let entra = site.fixture.gateway("gateway-entra", vdi_cluster::free_port()?, &flags).await?;
        Visitor::at_desktop(&[&entra], &site.fixture.stack, &User::admin(), "nora", "desktop").await?;
        for (gateway, account, is_verified) in [
            (&entra, "entra+nora@example.com", true),
            (&entra, "nora@example.com", false),
            (&entra, "unverified+nora@example.com", false),
            (&site.gateway, "entra+nora@example.com", false),
        ] {
            let mut visitor = Visitor::default();
            let _provider = site.provider.lock().await;
            let (url, page) = oidc::sign_in(&mut visitor, gateway, &site.url(&host), account).await?;
            match is_verified {
                true => {
                    ensure!(url.path() == "/.vdi/enter", "{account}: {url}: {page:?}");
                    let code = url.fragment().context("no code")?;
                    ensure!(visitor.post(gateway, &host, "/.vdi/enter", code).await?.status == 200);
                    ensure!(visitor.get(gateway, &host, "/").await?.status == 200);
                }
                false => {
                    let refused = page.status == 403 && page.body.contains("Your address is not verified");
                    ensure!(refused, "{account}: {url}: {page:?}");
                    ensure!(visitor.get(gateway, &host, "/").await?.status == 401, "{account}");
                }
            }
        }
        ensure!(entra.replica.logged_times("no claim xms_edov says so")? == 2, "{}", entra.replica.log()?);
        Ok(())
    })
}

#[test]
fn a_sign_in_that_another_browser_started_signs_nobody_in() -> Result<()> {
    with_site(async |site| {
        let host = site.desktop_of("hugo@example.com").await?;
        let _provider = site.provider.lock().await;
        // The attacker starts to sign in, up to the point at which the provider would send them back with a code.
        let mut attacker = Visitor::default();
        let started = attacker.open(&site.gateway, DOMAIN, "/.vdi/sign-in").await?;
        ensure!(
            started.status == 303 && started.header("location").contains("code_challenge_method=S256"),
            "{started:?}"
        );
        let state = started.header("location").split("state=").nth(1).and_then(|rest| rest.split('&').next());
        let callback = format!("/.vdi/callback?code=anything&state={}", state.context("no state")?);

        // It is sent to a visitor without a sign-in, and to one who has started another.
        let mut victims = [Visitor::default(), Visitor::default()];
        victims[1].open(&site.gateway, DOMAIN, "/.vdi/sign-in").await?;
        for victim in &mut victims {
            let answer = victim.open(&site.gateway, DOMAIN, &callback).await?;
            ensure!(answer.status == 400 && answer.body.contains("This sign-in did not begin here"), "{answer:?}");
            ensure!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
        }
        // The attacker, with an invalid code.
        let answer = attacker.open(&site.gateway, DOMAIN, &callback).await?;
        ensure!(answer.status == 502, "{answer:?}");
        ensure!(attacker.get(&site.gateway, &host, "/").await?.status == 401);
        Ok(())
    })
}

#[test]
fn a_sign_in_never_redirects_anywhere_but_to_a_desktop() -> Result<()> {
    with_site(async |site| {
        for host in [
            "evil.com",
            "//evil.com",
            "alice.vdi.localhost.evil.com",
            "evil.com%23.vdi.localhost",
            "",
            "a.b.vdi.localhost",
        ] {
            let answer = Visitor::default().open(&site.gateway, DOMAIN, &format!("/.vdi/open?host={host}")).await?;
            ensure!(answer.status == 404 && !answer.headers.contains_key("location"), "{host}: {answer:?}");
        }
        Ok(())
    })
}

#[test]
fn another_sites_page_signs_nobody_out() -> Result<()> {
    with_site(async |site| {
        let headers = [("origin", "https://evil.com".to_owned())];
        let mut visitor = Visitor::default();
        let answer =
            visitor.ask(&site.gateway, DOMAIN, Method::POST, "/.vdi/sign-out", &headers, String::new()).await?;
        ensure!(answer.status == 403, "{answer:?}");
        Ok(())
    })
}

#[test]
fn a_user_can_sign_in_after_the_provider_has_changed_its_keys() -> Result<()> {
    with_site(async |site| {
        let host = site.desktop_of("ines@example.com").await?;
        let (url, _) = site.sign_in(&mut Visitor::default(), &host, "ines@example.com").await?;
        ensure!(url.path() == "/.vdi/enter", "{url}");
        {
            let mut provider = site.provider.lock().await;
            drop(provider.take());
            let logs = site.fixture.stack.cluster.logs();
            *provider = Some(OidcProvider::start(&logs, site.provider_port, &site.fixture.public_url()).await?);
        }
        let mut visitor = Visitor::default();
        let (url, page) = site.sign_in(&mut visitor, &host, "ines@example.com").await?;
        ensure!(url.path() == "/.vdi/enter", "{url}: {page:?}");
        ensure!(enter(site, &mut visitor, &url).await?.status == 200);
        Ok(())
    })
}

/// The claim `auth_time` of a token: when its user logged in.
fn auth_time(token: &str) -> Result<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).context("no claims")?)?;
    let claims: serde_json::Value = serde_json::from_slice(&claims)?;
    claims["auth_time"].as_i64().context("no auth_time")
}

#[test]
fn tokens_derived_from_a_login_keep_its_auth_time_even_after_a_renewal() -> Result<()> {
    with_site(async |site| {
        let host = site.desktop_of("jana@example.com").await?;
        let mut visitor = Visitor::default();
        site.sign_in(&mut visitor, &host, "jana@example.com").await?;
        let cookie = |visitor: &Visitor, host: &str| auth_time(&visitor.cookies(host).context("no cookie")?);
        let signed_in = cookie(&visitor, DOMAIN)?;
        // Times in tokens have a resolution of seconds.
        while jiff::Timestamp::now().as_second() <= signed_in + 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (url, _) = visitor.follow(&site.gateway, &site.url(&host)).await?;
        ensure!(auth_time(url.fragment().context("no code")?)? == signed_in, "the link's code");
        ensure!(enter(site, &mut visitor, &url).await?.status == 200);
        ensure!(cookie(&visitor, &host)? == signed_in, "the token at the desktop");
        ensure!(visitor.post(&site.gateway, &host, "/.vdi/renew", "").await?.status == 200);
        ensure!(cookie(&visitor, &host)? == signed_in, "the renewed token");
        Ok(())
    })
}

#[test]
fn another_page_cannot_use_up_a_users_session_lists() -> Result<()> {
    with_site(async |site| {
        let mut visitor = Visitor::default();
        let provider = site.provider.lock().await;
        let portal = format!("{}/.vdi/sign-in", site.fixture.public_url());
        oidc::sign_in(&mut visitor, &site.gateway, &portal, "karl@example.com").await?;
        drop(provider);
        let sibling = format!("https://{}", site.gateway.authority(&format!("alice.{DOMAIN}")));
        let own = [("sec-fetch-site", "same-origin".to_owned())];
        let foreign = [
            vec![("sec-fetch-site", "same-site".to_owned()), ("sec-fetch-mode", "no-cors".to_owned())],
            vec![("sec-fetch-site", "cross-site".to_owned())],
            vec![("origin", sibling)],
            // An old browser sends neither header.
            vec![],
        ];
        let mut open = Vec::new();
        for headers in foreign.iter().cycle().take(130) {
            open.push(
                visitor.send(&site.gateway, DOMAIN, Method::GET, "/.vdi/sessions", headers, String::new()).await?,
            );
        }
        let list = visitor.send(&site.gateway, DOMAIN, Method::GET, "/.vdi/sessions", &own, String::new()).await?;
        ensure!(list.status() == 200, "{list:?}");
        ensure!(open.iter().all(|answer| answer.status() == 403), "{:?}", open.iter().find(|a| a.status() != 403));
        Ok(())
    })
}

#[test]
fn the_limit_on_open_session_lists_is_counted_per_user() -> Result<()> {
    with_site(async |site| {
        let (mut greedy, mut modest) = (Visitor::default(), Visitor::default());
        for (visitor, account) in [(&mut greedy, "greta@example.com"), (&mut modest, "mo@example.com")] {
            let provider = site.provider.lock().await;
            oidc::sign_in(visitor, &site.gateway, &format!("{}/.vdi/sign-in", site.fixture.public_url()), account)
                .await?;
            drop(provider);
        }
        let list = async |visitor: &mut Visitor| {
            let own = [("sec-fetch-site", "same-origin".to_owned())];
            visitor.send(&site.gateway, DOMAIN, Method::GET, "/.vdi/sessions", &own, String::new()).await
        };
        let mut open = Vec::new();
        for _ in 0..128 {
            let answer = list(&mut greedy).await?;
            ensure!(answer.status() == 200, "{}: {answer:?}", open.len());
            open.push(answer);
        }
        ensure!(list(&mut greedy).await?.status() == 429);
        ensure!(list(&mut modest).await?.status() == 200);
        open.pop();
        let deadline = Instant::now() + Duration::from_secs(10);
        while list(&mut greedy).await?.status() != 200 {
            ensure!(Instant::now() < deadline, "no list is accepted again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
}
