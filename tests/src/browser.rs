//! Headless Chromium, driven through WebDriver.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use fantoccini::{Client, ClientBuilder};
use serde_json::json;
use vdi_cluster::{Launch, Server};

/// A browser with one page of 1280x800 pixels. Dropping it ends it, and so does the end of its owner.
pub struct Browser {
    client: Client,
    _driver: Server,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Needs Debian's packages chromium and chromium-driver, see [`crate::setup::browser`]. The driver's log goes to
    /// `logs`.
    pub async fn start(logs: &Path) -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("vdi-chromium-").tempdir()?;
        let launch = Launch {
            arguments: vec!["--port=0".into()],
            environment: vec![("PROFILE", profile.path().into())],
            // The driver leaves its browsers behind when it is killed.
            cleanup: r#"pkill -KILL -f -- "--user-data-dir=$PROFILE"; rm -rf "$PROFILE""#,
            ..Launch::new("chromedriver", Path::new("/usr/bin/chromedriver"))
        };
        let mut driver = Server::start(logs, launch)?;
        let port = port_of(&mut driver, &logs.join("chromedriver.log")).await?;
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities(profile.path()))
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("Chromium does not start; see chromedriver.log")?;
        let browser = Self { client, _driver: driver, _profile: profile };
        browser.resize(1280, 800).await?;
        Ok(browser)
    }

    /// Gives the page this size: the window is larger, by the browser's own bars.
    async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let bars = self.client.execute("return [outerWidth - innerWidth, outerHeight - innerHeight]", vec![]).await?;
        let [wider, higher]: [u32; 2] = serde_json::from_value(bars).context("the size of the browser's bars")?;
        self.client.set_window_size(width + wider, height + higher).await.context("resizing the browser")
    }

    pub async fn open(&self, url: &str) -> Result<()> {
        self.client.goto(url).await.with_context(|| format!("opening {url}"))
    }

    /// What the window shows, as a PNG.
    pub async fn screenshot(&self) -> Result<Vec<u8>> {
        self.client.screenshot().await.context("taking a screenshot")
    }
}

fn capabilities(profile: &Path) -> fantoccini::wd::Capabilities {
    // No sandbox: Chromium refuses to have one as root. The rest keeps it from calling home.
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--force-device-scale-factor=1",
    ];
    let profile = format!("--user-data-dir={}", profile.display());
    let arguments: Vec<&str> = arguments.into_iter().chain([profile.as_str()]).collect();
    let options = json!({ "binary": "/usr/bin/chromium", "args": arguments });
    [("goog:chromeOptions".to_owned(), options)].into_iter().collect()
}

/// The driver chooses a free port, and says so in its log.
async fn port_of(driver: &mut Server, log: &Path) -> Result<u16> {
    const SAID: &str = "started successfully on port ";
    loop {
        driver.check()?;
        let text = tokio::fs::read_to_string(log).await?;
        if let Some((_, rest)) = text.split_once(SAID)
            && let Some((port, _)) = rest.split_once('.')
        {
            return port.parse().context("chromedriver's port");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
