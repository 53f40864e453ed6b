//! Activity at desktops, from the gateways to the controller, which ends idle sessions.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{interval, sleep},
};
use vdi_api::Phase;
use vdi_tests::{
    browser::Browser,
    fixture::Fixture,
    gateway::Gateway,
    http,
    names::Names,
    objects::wait_gone,
    process::signal,
    selkies::Selkies,
    setup,
    shared::{Shared, directory},
    stack::{Stack, alice},
    test_namespace::TestNamespace,
    visitor::Visitor,
    websocket::Websocket,
};

struct Site {
    fixture: Fixture,
    /// The host name that the controller resolves to find gateways.
    names: Names,
    /// The port of each gateway's activity page. Each gateway has its own address.
    port: u16,
    token: tempfile::NamedTempFile,
    /// The controller asks all gateways, so only one test runs at a time.
    one: Mutex<()>,
    _files: tempfile::TempDir,
}

const SERVICE: &str = "vdi-gateways";

async fn start() -> Result<Option<Site>> {
    match setup::names().await {
        Err(why) if !vdi_cluster::is_root() && std::env::var_os("CI").is_none() => {
            eprintln!("skipped: {why}");
            return Ok(None);
        }
        installed => installed?,
    }
    let (files, token) = (tempfile::tempdir()?, tempfile::NamedTempFile::new()?);
    std::fs::write(token.path(), "the controller's\n")?;
    let (names, port) = (Names::new(&files.path().join("hosts"))?, vdi_cluster::free_port()?);
    let url = format!("http://{SERVICE}:{port}/activity");
    let flags = ["--activity-url", &url, "--activity-token-file", &token.path().display().to_string()];
    let fixture = Fixture::with_controller(&directory(), &flags, names.runner()).await?;
    Ok(Some(Site { fixture, names, port, token, one: Mutex::default(), _files: files }))
}

fn with_site(test: impl AsyncFnOnce(&'static Site, MutexGuard<'static, ()>) -> Result<()>) -> Result<()> {
    static SITE: Shared<Option<Site>> = Shared::new();
    SITE.with(start, async |site| match site {
        Some(site) => test(site, site.one.lock().await).await,
        None => Ok(()),
    })
}

const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

impl Site {
    /// Starts a gateway that isn't listed yet.
    async fn gateway(&self, name: &'static str, address: Ipv4Addr) -> Result<Gateway> {
        self.gateway_at(vdi_cluster::free_port()?, name, address).await
    }

    /// Starts such a gateway with this port for visitors.
    async fn gateway_at(&self, public: u16, name: &'static str, address: Ipv4Addr) -> Result<Gateway> {
        let (operations, token) = (format!("{address}:{}", self.port), self.token.path().display().to_string());
        let flags = ["--operations-listen", &operations, "--activity-token-file", &token, "--drain", "6s"];
        self.fixture.gateway(name, public, &flags).await
    }

    fn list(&self, addresses: &[Ipv4Addr]) -> Result<()> {
        self.names.set(SERVICE, addresses)
    }

    /// Stops a gateway as Kubernetes does: from then on only the others are listed. Waits until it has stopped.
    async fn stop(&self, mut gateway: Gateway, others: &[Ipv4Addr]) -> Result<()> {
        self.list(others)?;
        signal("TERM", gateway.replica.process().await?)?;
        let began = Instant::now();
        while gateway.replica.check().is_ok() {
            ensure!(began.elapsed() < Duration::from_secs(30), "Kubernetes would kill it: {}", gateway.replica.log()?);
            sleep(Duration::from_millis(50)).await;
        }
        ensure!(gateway.replica.stop()?.success());
        Ok(())
    }

    /// A namespace with running sessions of alice's, which end after 20 seconds without input.
    async fn namespace(&self, name: &str, sessions: &[&str]) -> Result<TestNamespace> {
        self.namespace_at(self.fixture.desktop_port, name, sessions).await
    }

    /// Creates such a namespace with desktops at this port.
    async fn namespace_at(&self, port: u16, name: &str, sessions: &[&str]) -> Result<TestNamespace> {
        let namespace = TestNamespace::new(&self.fixture.stack, name).await?;
        namespace.template(json!({ "port": port, "idleTimeout": "20s" })).await?;
        for session in sessions {
            namespace.session(session).await?;
        }
        for session in sessions {
            namespace.wait_running(session).await?;
        }
        Ok(namespace)
    }

    async fn visit(&self, gateway: &Gateway, namespace: &TestNamespace, session: &str) -> Result<Visit> {
        let stack = &self.fixture.stack;
        let (mut visitor, host) = Visitor::at_desktop(&[gateway], stack, &alice(), &namespace.name, session).await?;
        let mut socket = Websocket::open(gateway, &mut visitor, &host).await?;
        socket.send(&message(VERSION)).await?;
        Ok(Visit { visitor, host, socket })
    }
}

/// A page that is open at a desktop.
struct Visit {
    visitor: Visitor,
    host: String,
    socket: Websocket,
}

impl Visit {
    /// Presses a key every second, for a time or until the connection is cut. Returns when the last one was pressed.
    async fn types(&mut self, time: Duration) -> Result<Instant> {
        let began = Instant::now();
        let mut last = began;
        while began.elapsed() < time {
            let now = Instant::now();
            if self.socket.send(&message(KEY)).await.is_err() {
                break;
            }
            last = now;
            sleep(Duration::from_secs(1)).await;
        }
        Ok(last)
    }
}

async fn ensure_running(namespace: &TestNamespace, session: &str) -> Result<()> {
    let status = namespace.sessions.get(session).await?.status.unwrap_or_default();
    ensure!(status.phase == Phase::Running, "{session}: {status:?}");
    Ok(())
}

/// Waits until a session has ended as idle. Returns how long after its last input.
async fn idle_end(namespace: &TestNamespace, session: &str, last_input: Instant) -> Result<Duration> {
    wait_gone(&namespace.sessions, session).await?;
    namespace.wait_event(session, "Idle").await?;
    let after = last_input.elapsed();
    ensure!(after > Duration::from_secs(20), "{session} ended {after:?} after its last input");
    eprintln!("{}/{session} ended {:.0} s after its last input", namespace.name, after.as_secs_f64());
    Ok(after)
}

/// A websocket frame. Its mask of zeros leaves the payload unchanged.
fn message(payload: &[u8]) -> Vec<u8> {
    [&[0x82, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

const VERSION: &[u8] = b"RFB 003.008\n";
const UPDATE_REQUEST: &[u8] = &[3, 1, 0, 0, 0, 0, 4, 0, 3, 0];
const KEY: &[u8] = &[4, 1, 0, 0, 0, 0, 0, 0x61];

#[test]
fn a_desktop_that_is_merely_open_ends_and_one_with_input_or_a_present_user_does_not() -> Result<()> {
    with_site(async |site, _alone| {
        let gateway = site.gateway("gateway", A).await?;
        site.list(&[A])?;
        let namespace = site.namespace("activity", &["typed", "stayed", "watched"]).await?;
        let mut open = Vec::new();
        for name in ["typed", "stayed", "watched"] {
            open.push(site.visit(&gateway, &namespace, name).await?);
        }
        let [typed, stayed, watched] = &mut open[..] else { unreachable!() };
        let use_them = async {
            let mut clock = interval(Duration::from_secs(2));
            loop {
                clock.tick().await;
                typed.socket.send(&message(KEY)).await?;
                // Fails once it is cut.
                let _ = watched.socket.send(&message(UPDATE_REQUEST)).await;
                let answer = stayed.visitor.post(&gateway, &stayed.host, "/.vdi/stay", "").await?;
                ensure!(answer.status == 200, "{answer:?}");
            }
        };
        let see_it_end = async {
            let start = Instant::now();
            wait_gone(&namespace.sessions, "watched").await?;
            ensure!(start.elapsed() > Duration::from_secs(10), "it ended after {:?}", start.elapsed());
            namespace.wait_event("watched", "Idle").await?;
            // Past the idle timeout of the others, to show that they don't end.
            sleep(Duration::from_secs(10)).await;
            anyhow::Ok(())
        };
        let ended = tokio::select! {
            ended = see_it_end => ended,
            used = use_them => used,
        };
        ended?;
        ensure_running(&namespace, "typed").await?;
        ensure_running(&namespace, "stayed").await?;
        // From here on, nobody uses them.
        wait_gone(&namespace.sessions, "typed").await?;
        wait_gone(&namespace.sessions, "stayed").await?;
        site.stop(gateway, &[]).await
    })
}

/// Each gateway is replaced by a new one without state, in a shorter time than the idle timeout.
#[test]
fn a_rolling_update_of_the_gateways_ends_no_desktop_in_use_and_keeps_none_that_is_not() -> Result<()> {
    with_site(async |site, _alone| {
        let (one, two) = (site.gateway("rolling-1", A).await?, site.gateway("rolling-2", B).await?);
        site.list(&[A, B])?;
        let namespace = site.namespace("rolling", &["used", "left"]).await?;
        let mut used = site.visit(&one, &namespace, "used").await?;
        let mut left = site.visit(&one, &namespace, "left").await?;
        // Longer than the idle timeout, so that only the first gateway's record keeps them alive.
        let (_, left_at) = tokio::try_join!(used.types(Duration::from_secs(25)), left.types(Duration::from_secs(25)))?;
        // The first gateway is no longer listed, and proxies input until it cuts the connection.
        tokio::try_join!(site.stop(one, &[B]), used.types(Duration::from_secs(60)))?;
        let cut_at = Instant::now();
        let three = site.gateway("rolling-3", A).await?;
        site.list(&[A, B])?;
        site.stop(two, &[A]).await?;
        let four = site.gateway("rolling-4", B).await?;
        site.list(&[A, B])?;
        let ended = idle_end(&namespace, "left", left_at).await?;
        ensure!(ended < Duration::from_secs(40), "it was kept for {ended:?}");
        // The user comes back within the idle timeout, and until then the session must not end.
        sleep(Duration::from_secs(15).saturating_sub(cut_at.elapsed())).await;
        ensure_running(&namespace, "used").await?;
        let mut used = site.visit(&four, &namespace, "used").await?;
        let used_at = used.types(Duration::from_secs(10)).await?;
        ensure_running(&namespace, "used").await?;
        let ended = idle_end(&namespace, "used", used_at).await?;
        ensure!(ended < Duration::from_secs(40), "it was kept for {ended:?}");
        tokio::try_join!(site.stop(three, &[]), site.stop(four, &[]))?;
        Ok(())
    })
}

#[test]
fn killing_a_gateway_ends_no_desktop_in_use_and_idle_ones_still_end() -> Result<()> {
    with_site(async |site, _alone| {
        let (one, two) = (site.gateway("killed", A).await?, site.gateway("surviving", B).await?);
        site.list(&[A, B])?;
        let namespace = site.namespace("killed", &["used", "left"]).await?;
        let mut used = site.visit(&one, &namespace, "used").await?;
        let mut left = site.visit(&one, &namespace, "left").await?;
        let (_, left_at) = tokio::try_join!(used.types(Duration::from_secs(25)), left.types(Duration::from_secs(25)))?;
        one.replica.kill()?;
        site.list(&[B])?;
        // The user comes back after the controller has noticed that a gateway is gone. Until then the session must not end.
        sleep(Duration::from_secs(15)).await;
        ensure_running(&namespace, "used").await?;
        let mut used = site.visit(&two, &namespace, "used").await?;
        let used_at = used.types(Duration::from_secs(40)).await?;
        ensure_running(&namespace, "used").await?;
        idle_end(&namespace, "left", left_at).await?;
        idle_end(&namespace, "used", used_at).await?;
        site.stop(two, &[]).await
    })
}

/// The real Selkies with sound, in a real browser. Its page sends text messages all the time, and input is text as well.
#[test]
fn with_selkies_typing_counts_as_activity_and_an_open_page_with_sound_does_not() -> Result<()> {
    with_site(async |site, _alone| {
        setup::browser().await?;
        let (logs, port) = (site.fixture.stack.cluster.logs(), vdi_cluster::free_port()?);
        // At the port of the public URL.
        let mut gateway = site.gateway_at(site.fixture.public_port, "gateway-selkies", A).await?;
        site.list(&[A])?;
        let namespace = site.namespace_at(port, "selkies", &["desktop"]).await?;
        let pod = namespace.pods.get("vdi-desktop").await?;
        let ip: IpAddr = pod.status.and_then(|status| status.pod_ip).context("no address")?.parse()?;
        let metrics = gateway.replica.address().await?;
        let open = async {
            let selkies = Selkies::start(&logs, (ip, port).into()).await?;
            let browser = Browser::start(&logs).await?;
            let (host, code) = gateway.link(&site.fixture.stack, &alice(), &namespace.name, "desktop").await?;
            browser.open(&format!("https://{}/.vdi/enter#{code}", gateway.authority(&host))).await?;
            browser.wait_for_frame().await?;
            let began = Instant::now();
            while received(metrics, "desktop").await? < 100_000.0 {
                ensure!(began.elapsed() < Duration::from_secs(60), "Selkies sends no picture");
                sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok((selkies, browser))
        };
        // This takes a while, which must not count as idle.
        let (_selkies, browser) = tokio::select! {
            opened = open => opened?,
            error = stay(&site.fixture.stack, &gateway, &namespace) => return Err(error),
        };
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            browser.type_text("a").await?;
            sleep(Duration::from_secs(1)).await;
        }
        let last_input = Instant::now();
        ensure_running(&namespace, "desktop").await?;
        // From here on, its page is merely open, and both sides keep sending. Long enough to measure that.
        let (browser_before, desktop_before) =
            (received(metrics, "browser").await?, received(metrics, "desktop").await?);
        sleep(Duration::from_secs(10)).await;
        let (browser_after, desktop_after) = (received(metrics, "browser").await?, received(metrics, "desktop").await?);
        ensure!(
            browser_after - browser_before > 500.0 && desktop_after - desktop_before > 10_000.0,
            "{browser_before} to {browser_after}, {desktop_before} to {desktop_after} bytes"
        );
        ensure_running(&namespace, "desktop").await?;
        let ended = idle_end(&namespace, "desktop", last_input).await?;
        ensure!(ended < Duration::from_secs(40), "it was kept for {ended:?}");
        drop(browser);
        site.stop(gateway, &[]).await
    })
}

/// Reports that alice is present, until that fails.
async fn stay(stack: &Stack, gateway: &Gateway, namespace: &TestNamespace) -> anyhow::Error {
    let report = async {
        let (mut visitor, host) = Visitor::enter(gateway, stack, &alice(), &namespace.name, "desktop").await?;
        loop {
            // Right after its start, the gateway may not know the desktop yet.
            visitor.post(gateway, &host, "/.vdi/stay", "").await?;
            sleep(Duration::from_secs(1)).await;
        }
    };
    let Err(error): Result<Infallible> = report.await;
    error
}

/// The bytes that came through websockets, from the browser or the desktop.
async fn received(metrics: SocketAddr, from: &str) -> Result<f64> {
    let line = format!("vdi_gateway_websocket_bytes_total{{from=\"{from}\"}} ");
    let (_, page) = http::get(metrics, "/metrics").await?;
    Ok(page.lines().find_map(|text| text.strip_prefix(&line)).unwrap_or("0").parse()?)
}
