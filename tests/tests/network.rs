//! The gateway's pages in a browser whose connections break while they load. `cargo xtask demo --network` runs this for longer,
//! with real desktops.

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tokio::sync::Mutex;
use vdi_tests::{
    browser::Browser,
    fixture::Fixture,
    gateway::Gateway,
    loading::{Page, Reader},
    network::TcpProxy,
    oidc::OidcProvider,
    setup,
    shared::{Shared, directory},
    stack::alice,
    test_namespace::TestNamespace,
};

struct Site {
    gateway: Gateway,
    proxy: TcpProxy,
    _provider: OidcProvider,
    fixture: Fixture,
    namespace: TestNamespace,
}

/// Runs a test on the shared site of this binary.
fn with_site(test: impl AsyncFnOnce(&'static Site) -> Result<()>) -> Result<()> {
    static SITE: Shared<Site> = Shared::new();
    SITE.with(start, test)
}

async fn start() -> Result<Site> {
    setup::browser().await?;
    let fixture = Fixture::start(&directory()).await?;
    let (logs, port) = (fixture.stack.cluster.logs(), vdi_cluster::free_port()?);
    let provider = OidcProvider::start(&logs, port, &fixture.public_url()).await?;
    let flags = provider.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let gateway = fixture.gateway("gateway", vdi_cluster::free_port()?, &flags).await?;
    let proxy = TcpProxy::start(fixture.public_port, gateway.address()).await?;
    let namespace = TestNamespace::new(&fixture.stack, "network").await?;
    namespace.template(json!({ "port": fixture.desktop_port, "path": "/client/" })).await?;
    namespace.session("desktop").await?;
    namespace.wait_running("desktop").await?;
    Ok(Site { gateway, proxy, _provider: provider, fixture, namespace })
}

/// Runs a test in alice's browser. Only one runs at a time, since all share a session.
async fn with_reader(site: &Site, work: impl AsyncFnOnce(&Reader<'_>) -> Result<()>) -> Result<()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    let browser = Browser::start(&site.fixture.stack.cluster.logs()).await?;
    let (stack, gateway, namespace) = (&site.fixture.stack, &site.gateway, &site.namespace);
    let reader = Reader { browser: &browser, stack, gateway, namespace, name: "desktop", user: &alice() };
    browser.witness(work(&reader)).await
}

#[test]
fn every_page_recovers_when_its_connections_break_at_any_moment_while_it_loads() -> Result<()> {
    /// The number of cuts per page, evenly spread over the bytes that the gateway sends in the shortest load.
    const CUTS: u64 = 8;
    with_site(async |site| {
        let proxy = &site.proxy;
        with_reader(site, async |reader| {
            for page in Page::ALL {
                reader.turn_to(page).await?;
                // Loads differ in length: a browser may open another connection, or find more in its cache.
                let mut shortest = u64::MAX;
                for _ in 0..3 {
                    let before = proxy.passed();
                    reader.load(page, || Ok(())).await?;
                    shortest = shortest.min(proxy.passed() - before);
                }
                let cuts = proxy.cuts();
                for part in 0..CUTS {
                    let cut = || {
                        proxy.cut_after(shortest * part / CUTS);
                        Ok(())
                    };
                    reader.load(page, cut).await.with_context(|| format!("{page:?}, cut at {part} of {CUTS} parts"))?;
                    proxy.cut_after(u64::MAX);
                }
                let cuts = proxy.cuts() - cuts;
                ensure!(cuts >= 6, "{page:?}: only {cuts} of {CUTS} loads were cut");
            }
            Ok(())
        })
        .await
    })
}

#[test]
fn every_page_recovers_when_network_interfaces_come_and_go_while_it_loads() -> Result<()> {
    match setup::why_no_real_node() {
        None => {}
        Some(why) if std::env::var_os("CI").is_some() => bail!("{why}, and in CI this test is not to be skipped"),
        Some(why) => {
            eprintln!("skipped: {why}");
            return Ok(());
        }
    }
    with_site(async |site| with_reader(site, async |reader| reader.come_and_go(3, 1).await).await)
}
