//! Loads the gateway's pages in a browser while its connections break, until they work.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use vdi_api::Phase;
use vdi_cluster::User;

use crate::{
    browser::Browser, entrance::Entrance, gateway::DOMAIN, network::Interfaces, oidc, stack::Stack,
    test_namespace::TestNamespace,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Page {
    /// The page of a link, which leads to the desktop.
    Link,
    /// The page of a session that isn't running, until it is.
    Waiting,
    /// The page around a desktop, and the desktop's own page in it.
    Desktop,
    /// The list of a user's desktops.
    Portal,
}

impl Page {
    pub const ALL: [Self; 4] = [Self::Link, Self::Waiting, Self::Desktop, Self::Portal];
}

/// A browser that is signed in at a session's desktop.
pub struct Reader<'a> {
    pub browser: &'a Browser,
    pub stack: &'a Stack,
    pub gateway: &'a Entrance,
    pub namespace: &'a TestNamespace,
    /// The session's name.
    pub name: &'a str,
    pub user: &'a User,
}

/// Whether the desktop in the frame is connected, either a fake one or one of images/desktop.
const CONNECTED: &str = "const page = frames[0]?.document; \
    return page?.getElementById('said')?.textContent === 'Connected' || !!page?.querySelector('#status.hidden')";

impl Reader<'_> {
    /// Loads the page, and checks that it shows the current state and later changes. Calls `before` right before loading.
    pub async fn load(&self, page: Page, before: impl FnOnce() -> Result<()>) -> Result<()> {
        match page {
            Page::Link => {
                self.browser.forget().await?;
                let link = self.link().await?;
                before()?;
                self.browser.go(&link).await?;
                self.wait_connected().await
            }
            Page::Waiting => {
                self.namespace.change(self.name, json!({ "suspend": true })).await?;
                self.namespace.wait(self.name, Phase::Pending, "Suspended").await?;
                self.browser.wait_for_text("Suspended").await?;
                before()?;
                self.reload().await?;
                self.browser.wait_for_text("Suspended").await?;
                self.namespace.change(self.name, json!({ "suspend": false })).await?;
                self.wait_connected().await
            }
            Page::Desktop => {
                before()?;
                self.reload().await?;
                self.wait_connected().await?;
                for (timeout, is_hidden) in [("14m", false), ("8h", true)] {
                    self.namespace.change(self.name, json!({ "timeout": timeout })).await?;
                    let told = format!("return document.getElementById('notice').hidden === {is_hidden}");
                    self.browser.wait_until("the page tells whether it ends soon", &told).await?;
                }
                Ok(())
            }
            Page::Portal => {
                before()?;
                self.reload().await?;
                for (timeout, hours) in [("4h", "3 h "), ("8h", "7 h ")] {
                    self.namespace.change(self.name, json!({ "timeout": timeout })).await?;
                    self.browser.wait_for_text(hours).await?;
                }
                Ok(())
            }
        }
    }

    /// Loads each page `times` times while network interfaces come and go.
    pub async fn come_and_go(&self, times: u64, seed: u64) -> Result<()> {
        for page in Page::ALL {
            self.turn_to(page).await?;
            let (began, mut slowest, mut changes) = (Instant::now(), Duration::ZERO, 0);
            for time in 0..times {
                let (start, mut interfaces) = (Instant::now(), None);
                let begin = || {
                    interfaces = Some(Interfaces::come_and_go(seed + time)?);
                    Ok(())
                };
                self.load(page, begin).await.with_context(|| format!("{page:?}, with seed {}", seed + time))?;
                changes += interfaces.map_or(0, Interfaces::stop);
                slowest = slowest.max(start.elapsed());
            }
            let all = began.elapsed().as_secs();
            println!("{page:?}: loaded {times} times in {all} s, the slowest in {slowest:.1?}; {changes} changes");
        }
        Ok(())
    }

    /// Navigates to where the page can be loaded. For the portal, signs in at the provider of tests/oidc-provider.
    pub async fn turn_to(&self, page: Page) -> Result<()> {
        match page {
            Page::Portal => {
                self.browser.open(&format!("https://{}/.vdi/sign-in", self.gateway.authority(DOMAIN))).await?;
                oidc::fill_in(self.browser, &self.user.name).await?;
                self.browser.wait_for_text("Your desktops").await.map(drop)
            }
            Page::Link | Page::Waiting | Page::Desktop => {
                self.browser.open(&self.link().await?).await?;
                self.wait_connected().await
            }
        }
    }

    async fn link(&self) -> Result<String> {
        let (host, code) = self.gateway.link(self.stack, self.user, &self.namespace.name, self.name).await?;
        Ok(format!("https://{}/.vdi/enter#{code}", self.gateway.authority(&host)))
    }

    /// Like the browser's reload button.
    async fn reload(&self) -> Result<()> {
        let address = self.browser.ask("return location.href").await;
        let address = address.as_str().context("the page has no address")?.to_owned();
        self.browser.ask("window.isOld = true").await;
        self.browser.go(&address).await?;
        self.browser.wait_until("the page is loaded again", "return window.isOld !== true").await
    }

    async fn wait_connected(&self) -> Result<()> {
        self.browser.wait_until("the desktop is connected", CONNECTED).await
    }
}
