//! A real OpenID provider on loopback: oidc-provider from npm, which is certified. Its login form accepts any account and
//! password.

use std::{
    ffi::OsString,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use vdi_cluster::{ControlPlane, Launch, Server};

use crate::{
    browser::Browser,
    entrance::Entrance,
    setup,
    visitor::{Answer, Visitor},
    wait,
};

/// The name of a provider for pods. Browsers resolve it to this machine, and pods to what they are told.
pub const HOST: &str = "login.vdi.localhost";
const SECRET: &str = "a secret of tests";

/// A running provider. Dropping it stops it.
pub struct OidcProvider {
    _server: Server,
    issuer: String,
    secret: PathBuf,
}

impl OidcProvider {
    /// The ID of its only client.
    pub const CLIENT: &str = "vdi-gateway";

    /// Starts one on loopback that redirects browsers to a gateway's public URL. Each has its own keys, and no accounts yet.
    pub async fn start(logs: &Path, port: u16, public_url: &str) -> Result<Self> {
        Self::launch(logs, format!("http://127.0.0.1:{port}"), port, public_url, Vec::new()).await
    }

    /// The same with TLS, for gateways in pods, which reach this machine at `address`. Browsers on this machine reach it too.
    pub async fn start_for_pods(cluster: &ControlPlane, address: Ipv4Addr, public_url: &str) -> Result<Self> {
        let port = vdi_cluster::free_port()?;
        let (certificate, key) = cluster.certificate("login", &[HOST])?;
        let tls =
            vec![("ADDRESS", address.to_string().into()), ("TLS_CERT", certificate.into()), ("TLS_KEY", key.into())];
        Self::launch(&cluster.logs(), format!("https://{HOST}:{port}"), port, public_url, tls).await
    }

    async fn launch(
        logs: &Path,
        issuer: String,
        port: u16,
        public_url: &str,
        mut environment: Vec<(&'static str, OsString)>,
    ) -> Result<Self> {
        let folder = setup::oidc_provider().await?;
        environment.extend([
            ("ISSUER", issuer.clone().into()),
            ("PORT", port.to_string().into()),
            ("REDIRECT_URI", format!("{public_url}/.vdi/callback").into()),
            ("CLIENT_ID", Self::CLIENT.into()),
            ("CLIENT_SECRET", SECRET.into()),
        ]);
        let arguments = vec![folder.join("server.mjs").into()];
        let node = setup::node()?;
        let log = logs.join("oidc-provider.log");
        let launch = Launch { arguments, environment, ..Launch::new("oidc-provider", &node) };
        let mut server = Server::start(logs, launch)?;
        wait::until("the OpenID provider listens; see oidc-provider.log", async || {
            server.check()?;
            Ok(std::fs::read_to_string(&log)?.contains("listening"))
        })
        .await?;
        let secret = logs.join("oidc-provider.secret");
        std::fs::write(&secret, format!("{SECRET}\n"))?;
        Ok(Self { _server: server, issuer, secret })
    }

    /// The gateway's flags for it.
    pub fn flags(&self) -> Vec<String> {
        let secret = self.secret.display().to_string();
        let flags =
            ["--oidc-issuer", &self.issuer, "--oidc-client-id", Self::CLIENT, "--oidc-client-secret-file", &secret];
        flags.map(str::to_owned).into()
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The file with the client's secret.
    pub fn secret(&self) -> &Path {
        &self.secret
    }
}

/// Opens an address that requires a sign-in, and signs in. Returns the last address and its page.
pub async fn sign_in(
    visitor: &mut Visitor,
    gateway: &Entrance,
    url: &str,
    account: &str,
) -> Result<(url::Url, Answer)> {
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
