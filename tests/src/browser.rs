//! Headless Chromium, driven through WebDriver.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction},
};
use serde_json::{Value, json};
use vdi_cluster::{Launch, Server};

use crate::{target, wait};

/// Chromium's logs, in its profile folder.
const CONSOLE: &str = "console.txt";
const NETWORK: &str = "network.json";

/// A browser with one page of 1280x800 pixels. Dropping it stops it, and so does the death of this process.
pub struct Browser {
    client: Client,
    _driver: Server,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Starts Chromium. Needs Debian's packages chromium and chromium-driver, see [`crate::setup::browser`]. The driver's log
    /// goes to `logs`.
    pub async fn start(logs: &Path) -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("vdi-chromium-").tempdir()?;
        let port = vdi_cluster::free_port()?;
        let launch = Launch {
            arguments: vec![format!("--port={port}").into()],
            environment: vec![("PROFILE", profile.path().into())],
            // The driver leaves its browsers running when it is killed.
            cleanup: r#"pkill -KILL -f -- "--user-data-dir=$PROFILE"; rm -rf "$PROFILE""#,
            ..Launch::new("chromedriver", Path::new("/usr/bin/chromedriver"))
        };
        let mut driver = Server::start(logs, launch)?;
        until_started(&mut driver, &logs.join("chromedriver.log")).await?;
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities(profile.path()))
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("Chromium does not start; see chromedriver.log")?;
        let browser = Self { client, _driver: driver, profile };
        browser.resize(1280, 800).await?;
        Ok(browser)
    }

    /// Sets the size of the page. The window is larger by the browser's own bars.
    async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let bars = self.client.execute("return [outerWidth - innerWidth, outerHeight - innerHeight]", vec![]).await?;
        let [wider, higher]: [u32; 2] = serde_json::from_value(bars).context("the size of the browser's bars")?;
        self.client.set_window_size(width + wider, height + higher).await.context("resizing the browser")
    }

    pub async fn open(&self, url: &str) -> Result<()> {
        match self.client.goto(url).await {
            // The browser retries by itself, as it does for people.
            Err(error) if error.to_string().contains("net::ERR_NETWORK_CHANGED") => Ok(()),
            result => result.with_context(|| format!("opening {url}")),
        }
    }

    /// Waits until the page contains a text. Returns all its text.
    pub async fn wait_for_text(&self, wanted: &str) -> Result<String> {
        const PATIENCE: Duration = Duration::from_secs(60);
        let start = Instant::now();
        loop {
            // During navigation, there is nothing to read.
            let text = self.client.execute("return document.body ? document.body.innerText : ''", vec![]).await;
            let text = text.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default();
            if text.contains(wanted) {
                return Ok(text);
            }
            ensure!(start.elapsed() < PATIENCE, "the page does not say {wanted:?}, but {text:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the page has a frame with a desktop.
    pub async fn wait_for_frame(&self) -> Result<()> {
        let wait = self.client.wait().at_most(Duration::from_secs(120));
        wait.for_element(Locator::Id("desktop")).await.context("no desktop's frame comes up")?;
        Ok(())
    }

    /// Marks the document in the page's frame, to tell it from later ones.
    pub async fn mark_frame(&self) -> Result<()> {
        self.client.execute("frames[0].isMarked = true", vec![]).await.context("marking the frame")?;
        Ok(())
    }

    /// Waits until the frame has another document.
    pub async fn wait_for_another_frame(&self) -> Result<()> {
        let is_marked = "return frames[0]?.isMarked === true";
        wait::until("the page loads its frame again", async || {
            Ok(self.client.execute(is_marked, vec![]).await? != json!(true))
        })
        .await
    }

    /// Types into the page's input with this name.
    pub async fn fill(&self, name: &str, value: &str) -> Result<()> {
        let selector = format!("input[name={name}]");
        let wait = self.client.wait().at_most(Duration::from_secs(60));
        let input =
            wait.for_element(Locator::Css(&selector)).await.with_context(|| format!("there is no input {name}"))?;
        input.send_keys(value).await.with_context(|| format!("filling in {name}"))
    }

    /// Presses the button of the page's form.
    pub async fn submit(&self) -> Result<()> {
        let button = self.client.find(Locator::Css("form button[type=submit]")).await.context("there is no button")?;
        button.click().await.context("pressing the button")
    }

    /// Presses the button with this id, once it is visible.
    pub async fn press(&self, id: &str) -> Result<()> {
        let wait = self.client.wait().at_most(Duration::from_secs(60));
        let selector = format!("#{id}:not([hidden])");
        wait.for_element(Locator::Css(&selector))
            .await
            .with_context(|| format!("there is no button {id}"))?
            .click()
            .await?;
        Ok(())
    }

    /// The result of a script in the page, null during navigation.
    pub async fn ask(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap_or_default()
    }

    /// Waits until a script in the page returns true.
    pub async fn wait_until(&self, what: &str, script: &str) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(120);
        let start = Instant::now();
        while self.ask(script).await != json!(true) {
            ensure!(start.elapsed() < PATIENCE, "{what}: not so after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Navigates to an address without waiting for it.
    pub async fn go(&self, url: &str) -> Result<()> {
        self.client.execute("location.assign(arguments[0])", vec![json!(url)]).await.context("going to an address")?;
        Ok(())
    }

    /// Deletes the cookies of the page's host.
    pub async fn forget(&self) -> Result<()> {
        self.client.delete_all_cookies().await.context("deleting cookies")
    }

    /// Does something with this browser. If that fails, keeps what the browser shows in a folder, which the error names.
    pub async fn witness<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match work.await {
            Ok(result) => Ok(result),
            Err(error) => Err(match self.keep().await {
                Ok(folder) => error.context(format!("what the browser saw is in {}", folder.display())),
                Err(kept) => error.context(format!("what the browser saw can't be kept: {kept:#}")),
            }),
        }
    }

    /// Saves the page's text and picture, the console and the network log.
    async fn keep(&self) -> Result<PathBuf> {
        static KEPT: AtomicUsize = AtomicUsize::new(0);
        let number = KEPT.fetch_add(1, Ordering::Relaxed);
        let folder = target().join("browser").join(format!("{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        for name in [CONSOLE, NETWORK] {
            std::fs::copy(self.profile.path().join(name), folder.join(name))
                .with_context(|| format!("keeping {name}"))?;
        }
        const TEXT: &str = "const text = (view) => { try { return [view.location.href, view.document.body?.innerText, \
                            ...Array.from(view, (_, number) => text(view[number]))].join('\\n\\n'); } catch (error) { return String(error); } }; \
                            return text(window)";
        let text = self.client.execute(TEXT, vec![]).await?;
        std::fs::write(folder.join("page.txt"), text.as_str().unwrap_or_default())?;
        std::fs::write(folder.join("page.png"), self.screenshot().await?)?;
        Ok(folder)
    }

    /// Types a text into whatever has the focus.
    pub async fn type_text(&self, text: &str) -> Result<()> {
        let keys = text.chars().flat_map(|value| [KeyAction::Down { value }, KeyAction::Up { value }]);
        let actions = keys.fold(KeyActions::new("keyboard".to_owned()), |actions, key| {
            let pause = KeyAction::Pause { duration: Duration::from_millis(20) };
            actions.then(key).then(pause)
        });
        self.client.perform_actions(actions).await.context("typing")
    }

    /// Clicks into the middle of the window.
    pub async fn click_middle(&self) -> Result<()> {
        let to_middle = PointerAction::MoveTo { duration: None, x: 640.0, y: 400.0 };
        let press = PointerAction::Down { button: MOUSE_BUTTON_LEFT };
        let actions = MouseActions::new("mouse".to_owned()).then(to_middle).then(press);
        self.client
            .perform_actions(actions.then(PointerAction::Up { button: MOUSE_BUTTON_LEFT }))
            .await
            .context("clicking")
    }

    /// The value of a cookie of the page's host.
    pub async fn cookie(&self, name: &str) -> Result<String> {
        Ok(self.client.get_named_cookie(name).await.with_context(|| format!("no cookie {name}"))?.value().to_owned())
    }

    /// Sets a cookie for the page's host, like a thief.
    pub async fn set_cookie(&self, name: &str, value: &str) -> Result<()> {
        let cookie = json!(format!("{name}={value}; Path=/; Secure"));
        self.client.execute("document.cookie = arguments[0]", vec![cookie]).await.context("setting a cookie")?;
        ensure!(self.cookie(name).await? == value, "the browser has not taken the cookie {name}");
        Ok(())
    }

    /// A screenshot as PNG.
    pub async fn screenshot(&self) -> Result<Vec<u8>> {
        self.client.screenshot().await.context("taking a screenshot")
    }
}

fn capabilities(profile: &Path) -> fantoccini::wd::Capabilities {
    // Without a sandbox, because Chromium refuses to have one as root. The rest keeps it from calling home.
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
    let files = [
        format!("--user-data-dir={}", profile.display()),
        "--enable-logging".to_owned(),
        format!("--log-file={}", profile.join(CONSOLE).display()),
        format!("--log-net-log={}", profile.join(NETWORK).display()),
    ];
    let arguments: Vec<&str> = arguments.into_iter().chain(files.iter().map(String::as_str)).collect();
    // As for people: a browser that knows it is automated doesn't retry a page that failed to load.
    let switches = ["enable-automation"];
    let options = json!({ "binary": "/usr/bin/chromium", "args": arguments, "excludeSwitches": switches });
    // The gateway's certificate comes from the cluster's authority.
    [("goog:chromeOptions".to_owned(), options), ("acceptInsecureCerts".to_owned(), json!(true))].into_iter().collect()
}

/// The driver logs its start.
async fn until_started(driver: &mut Server, log: &Path) -> Result<()> {
    wait::until("chromedriver starts", async || {
        driver.check()?;
        Ok(tokio::fs::read_to_string(log).await?.contains("started successfully"))
    })
    .await
}
