//! Plays alice and bob in headless Chromium.

use anyhow::{Context, Result, ensure};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use vdi_api::{Phase, VDISession};
use vdi_cluster::User;
use vdi_tests::{
    browser::Browser,
    desktop,
    gateway::DOMAIN,
    installed::Installed,
    objects::{create, delete, session, wait_for},
    oidc,
    stack::{self, DESKTOPS, alice, bob},
    step, target,
};

use super::running::{SESSION, apply_session, link};

const COOKIE: &str = "__Host-vdi-session";

pub(super) async fn run(demo: &mut Installed) -> Result<()> {
    if demo.provider.is_none() {
        let alice = Browser::start(&demo.stack.cluster.logs()).await?;
        alice.witness(be_alice(demo, &alice)).await?;
        add_provider(demo).await?;
    }
    step("Alice signs in at the OpenID provider, and waits for her desktop", sign_in(demo)).await
}

async fn be_alice(demo: &Installed, alice: &Browser) -> Result<()> {
    let used = step("Alice follows her link, and waits for her desktop", wait_for_desktop(demo, alice)).await?;
    step("Alice types into her desktop", type_and_read_back(demo, alice)).await?;
    step("The gateways are killed, and others take over", replace_gateways(demo, alice)).await?;
    step("Alice has little time left, and asks for more", ask_for_more_time(demo, alice)).await?;
    let thief = Browser::start(&demo.stack.cluster.logs()).await?;
    step("Bob tries to open it", thief.witness(refuse_bob(demo, alice, &thief, &used))).await?;
    let bob = Browser::start(&demo.stack.cluster.logs()).await?;
    step("Alice ends her session", bob.witness(end(demo, alice, &bob, &used))).await
}

/// Lets people sign in at an OpenID provider, by an upgrade of the installation.
async fn add_provider(demo: &mut Installed) -> Result<()> {
    let sessions: Api<VDISession> = Api::namespaced(demo.stack.cluster.admin(), DESKTOPS);
    delete(&sessions, "bob-desktop").await?;
    demo.add_provider().await?;
    step("Upgrading the installation, so that people can sign in there", demo.upgrade(&json!({}))).await?;
    apply_session(&demo.stack).await
}

async fn sign_in(demo: &Installed) -> Result<()> {
    let address = address_of_session(demo).await?;
    let alices = Browser::start(&demo.stack.cluster.logs()).await?;
    alices.witness(sign_in_as_alice(demo, &alices, &address)).await?;
    let bobs = Browser::start(&demo.stack.cluster.logs()).await?;
    bobs.witness(sign_in_as_bob(&bobs, &address)).await?;
    println!("Alice is signed in and sees her desktop; bob is signed in, and refused");
    Ok(())
}

async fn sign_in_as_alice(demo: &Installed, browser: &Browser, address: &str) -> Result<()> {
    browser.open(address).await?;
    oidc::fill_in(browser, &alice().name).await?;
    browser.wait_for_frame().await?;
    desktop::wait_until_shown(browser, &target().join("demo-oidc.png")).await?;
    browser.open(&format!("https://{}/", demo.entrance.authority(DOMAIN))).await?;
    browser.wait_for_text(SESSION).await?;
    Ok(std::fs::write(target().join("demo-portal.png"), browser.screenshot().await?)?)
}

async fn sign_in_as_bob(browser: &Browser, address: &str) -> Result<()> {
    browser.open(address).await?;
    oidc::fill_in(browser, &bob().name).await?;
    browser.wait_for_text("This is not your desktop").await.map(drop)
}

/// Returns the link, which has been used.
async fn wait_for_desktop(demo: &Installed, alice: &Browser) -> Result<String> {
    address_of_session(demo).await?;
    let link = link(&demo.stack, &demo.entrance).await?;
    alice.open(&link).await?;
    alice.wait_for_frame().await?;
    let picture = target().join("demo.png");
    desktop::wait_until_shown(alice, &picture).await?;
    println!("The desktop is drawn: {}", picture.display());
    Ok(link)
}

async fn address_of_session(demo: &Installed) -> Result<String> {
    let sessions: Api<VDISession> = Api::namespaced(demo.stack.cluster.admin(), DESKTOPS);
    let url = |session: &VDISession| session.status.as_ref().and_then(|status| status.url.clone());
    let session = wait_for(&sessions, SESSION, "given an address", |session| url(session).is_some()).await?;
    url(&session).context("no address")
}

/// Types a command into the desktop's terminal, and reads the file that it writes in the home.
async fn type_and_read_back(demo: &Installed, alice: &Browser) -> Result<()> {
    desktop::type_and_read_back(&demo.stack, alice, (DESKTOPS, SESSION), "hello").await?;
    std::fs::write(target().join("demo-typed.png"), alice.screenshot().await?)?;
    println!("What she typed is in her home");
    Ok(())
}

/// Kills all gateways. Kubernetes starts others, and the page has to reconnect by itself.
async fn replace_gateways(demo: &Installed, alice: &Browser) -> Result<()> {
    alice.mark_frame().await?;
    demo.kill_gateways().await?;
    alice.wait_for_another_frame().await?;
    desktop::wait_until_shown(alice, &target().join("demo-back.png")).await?;
    desktop::type_and_read_back(&demo.stack, alice, (DESKTOPS, SESSION), "back").await?;
    println!("Her page reconnects to another gateway by itself, and she is still signed in");
    Ok(())
}

async fn ask_for_more_time(demo: &Installed, alice: &Browser) -> Result<()> {
    let sessions: Api<VDISession> = Api::namespaced(demo.stack.cluster.client(&stack::alice()).await?, DESKTOPS);
    let patch = Patch::Merge(json!({ "spec": { "timeout": "14m" } }));
    sessions.patch(SESSION, &PatchParams::default(), &patch).await?;
    alice.wait_for_text("This desktop ends in").await?;
    std::fs::write(target().join("demo-ending.png"), alice.screenshot().await?)?;
    alice.press("extend").await?;
    wait_for(&sessions, SESSION, "an hour longer", |session| session.spec.timeout == "1h14m").await?;
    println!("Her page offers an hour more, and she takes it");
    Ok(())
}

async fn refuse_bob(demo: &Installed, alice: &Browser, thief: &Browser, used: &str) -> Result<()> {
    let address = used.split("/.vdi/").next().context("no address")?;
    thief.open(address).await?;
    thief.wait_for_text("Sign in first").await?;
    std::fs::write(target().join("demo-refused.png"), thief.screenshot().await?)?;

    thief.open(used).await?;
    thief.wait_for_text("This link no longer works").await?;
    thief.open(address).await?;
    thief.wait_for_text("Sign in first").await?;

    // His own session waits for the GPU that alice has.
    let sessions: Api<VDISession> = Api::namespaced(demo.stack.cluster.client(&bob()).await?, DESKTOPS);
    let mut bobs = session("bob-desktop", "ubuntu-desktop");
    bobs.spec.user = bob().name;
    create(&sessions, &bobs).await?;
    let waits = |session: &VDISession| {
        session.status.as_ref().is_some_and(|status| status.phase == Phase::Pending && status.url.is_some())
    };
    wait_for(&sessions, "bob-desktop", "waiting, with an address", waits).await?;
    let bobs_link = demo.entrance.link(&demo.stack, &bob(), DESKTOPS, "bob-desktop").await?;
    let bobs_address = format!("https://{}", demo.entrance.authority(&bobs_link.0));

    // Her cookie at his host.
    thief.open(&bobs_address).await?;
    thief.wait_for_text("Sign in first").await?;
    thief.set_cookie(COOKIE, &alice.cookie(COOKIE).await?).await?;
    thief.open(&bobs_address).await?;
    thief.wait_for_text("Sign in first").await?;

    // His own cookie, which is valid, but not for her desktop.
    thief.open(&format!("{bobs_address}/.vdi/enter#{}", bobs_link.1)).await?;
    thief.wait_for_text("bob-desktop").await?;
    let waiting = thief.wait_for_text("next in the queue for nvidia.com/gpu").await?;
    std::fs::write(target().join("demo-waiting.png"), thief.screenshot().await?)?;
    ensure!(waiting.contains("This page opens the desktop as soon as it is running."), "{waiting}");
    let his = thief.cookie(COOKIE).await?;
    thief.open(address).await?;
    thief.set_cookie(COOKIE, &his).await?;
    thief.open(address).await?;
    thief.wait_for_text("Sign in first").await?;
    println!(
        "Bob is refused at her address, with her link, with her cookie at his address, and with his cookie at hers"
    );

    // She frees her GPU, and his page opens his desktop by itself.
    thief.open(&bobs_address).await?;
    thief.wait_for_text("bob-desktop").await?;
    let patch = json!({ "spec": { "suspend": true } }).to_string();
    demo.stack
        .kubectl_ok(&User::admin(), ["patch", "vdi", SESSION, "-n", DESKTOPS, "--type=merge", "-p", &patch])
        .await?;
    thief.wait_for_frame().await?;
    desktop::wait_until_shown(thief, &target().join("demo-bob.png")).await?;
    alice.wait_for_text("Suspended").await?;
    println!("Alice suspends her session: her page says so, and bob's page opens his desktop by itself");
    Ok(())
}

async fn end(demo: &Installed, alice: &Browser, bob: &Browser, used: &str) -> Result<()> {
    let hers = alice.cookie(COOKIE).await?;
    let sessions: Api<VDISession> = Api::namespaced(demo.stack.cluster.admin(), DESKTOPS);
    delete(&sessions, SESSION).await?;
    alice.wait_for_text("This session has ended").await?;
    std::fs::write(target().join("demo-ended.png"), alice.screenshot().await?)?;
    println!("Alice deletes her session: her page says that it has ended");

    let address = used.split("/.vdi/").next().context("no address")?;
    bob.open(address).await?;
    bob.wait_for_text("Sign in first").await?;
    bob.set_cookie(COOKIE, &hers).await?;
    bob.open(address).await?;
    bob.wait_for_text("This session has ended").await?;
    println!("Her cookie no longer opens anything for bob");
    Ok(())
}
