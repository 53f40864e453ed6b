//! A real OpenID provider on loopback: oidc-provider from npm, which is certified. Its login form accepts any account and
//! password.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use vdi_cluster::{Launch, Server};

use crate::{
    browser::Browser,
    gateway::Gateway,
    http, setup,
    visitor::{Answer, Visitor},
    wait,
};

const CLIENT: &str = "vdi-gateway";
const SECRET: &str = "a secret of tests";

/// A running provider. Dropping it stops it.
pub struct OidcProvider {
    _server: Server,
    port: u16,
    secret: PathBuf,
}

impl OidcProvider {
    /// Starts one that redirects browsers to a gateway's public URL. Each has its own keys, and no accounts yet.
    pub async fn start(logs: &Path, port: u16, public_url: &str) -> Result<Self> {
        let folder = setup::oidc_provider().await?;
        let environment = vec![
            ("PORT", port.to_string().into()),
            ("REDIRECT_URI", format!("{public_url}/.vdi/callback").into()),
            ("CLIENT_ID", CLIENT.into()),
            ("CLIENT_SECRET", SECRET.into()),
        ];
        let arguments = vec![folder.join("server.mjs").into()];
        let node = setup::node()?;
        let launch = Launch { arguments, environment, ..Launch::new("oidc-provider", &node) };
        let mut server = Server::start(logs, launch)?;
        wait::until("the OpenID provider answers; see oidc-provider.log", async || {
            server.check()?;
            Ok(http::get(([127, 0, 0, 1], port).into(), "/.well-known/openid-configuration").await.is_ok())
        })
        .await?;
        let secret = logs.join("oidc-provider.secret");
        std::fs::write(&secret, format!("{SECRET}\n"))?;
        Ok(Self { _server: server, port, secret })
    }

    /// The gateway's flags for it.
    pub fn flags(&self) -> Vec<String> {
        let issuer = format!("http://127.0.0.1:{}", self.port);
        let secret = self.secret.display().to_string();
        let flags = ["--oidc-issuer", &issuer, "--oidc-client-id", CLIENT, "--oidc-client-secret-file", &secret];
        flags.map(str::to_owned).into()
    }
}

/// Opens an address that requires a sign-in, and signs in. Returns the last address and its page.
pub async fn sign_in(visitor: &mut Visitor, gateway: &Gateway, url: &str, account: &str) -> Result<(url::Url, Answer)> {
    let (url, page) = visitor.follow(gateway, url).await?;
    let login = [("prompt", "login"), ("login", account), ("password", "any")];
    let (url, page) = visitor.submit(gateway, &form(&url, &page)?, &login).await?;
    // Only asked for the first time.
    match page.body.contains("value=\"consent\"") {
        true => visitor.submit(gateway, &form(&url, &page)?, &[("prompt", "consent")]).await,
        false => Ok((url, page)),
    }
}

/// The same in a browser that shows the login form.
pub async fn fill_in(browser: &Browser, account: &str) -> Result<()> {
    browser.fill("login", account).await?;
    browser.fill("password", "any").await?;
    browser.submit().await?;
    // The provider asks for consent once.
    browser.wait_for_text("Continue").await?;
    browser.submit().await
}

/// The address that the page's form is sent to.
fn form(url: &url::Url, page: &Answer) -> Result<String> {
    let action = page.body.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
    let action = action.with_context(|| format!("no form at {url}: {} {}", page.status, page.body))?;
    Ok(url.join(action)?.into())
}
