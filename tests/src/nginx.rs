//! Debian's nginx, with deploy/forward-auth/nginx.conf or another site.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};
use vdi_cluster::{Launch, Server};

use crate::{gateway::DOMAIN, stack::Stack, workspace};

/// A running nginx. Dropping it stops it.
pub struct Nginx {
    address: SocketAddr,
    server: Server,
}

impl Nginx {
    /// Starts nginx at `address`, in front of a gateway that serves browsers at `gateway` and /check at `operations`. Needs
    /// Debian's package nginx, see [`crate::setup::nginx`].
    pub async fn start(
        stack: &Stack,
        address: SocketAddr,
        gateway: SocketAddr,
        operations: SocketAddr,
    ) -> Result<Self> {
        let (certificate, key) = stack.cluster.certificate("nginx", &[DOMAIN, &format!("*.{DOMAIN}")])?;
        let here = [
            ("vdi-gateway.vdiwarden-system.svc:8443", gateway.to_string()),
            ("vdi-gateway.vdiwarden-system.svc:8081", operations.to_string()),
            ("listen 443 ssl", format!("listen {address} ssl")),
            ("/etc/nginx/vdi/tls.crt", certificate.display().to_string()),
            ("/etc/nginx/vdi/tls.key", key.display().to_string()),
            ("/etc/nginx/vdi/gateway-ca.crt", stack.cluster.certificate_authority().display().to_string()),
            ("vdi.example.com", DOMAIN.to_owned()),
        ];
        let mut sample = fs::read_to_string(workspace().join("deploy/forward-auth/nginx.conf"))?;
        for (there, here) in here {
            ensure!(
                sample.contains(there),
                "deploy/forward-auth/nginx.conf says {there:?} no more, which tests replace"
            );
            sample = sample.replace(there, &here);
        }
        Self::with(stack, address, "events {}", &sample).await
    }

    /// The same with another site, which listens at `address`, and other lines before `http`.
    pub async fn with(stack: &Stack, address: SocketAddr, main: &str, site: &str) -> Result<Self> {
        // Kept, because this process may be killed. The clean-up removes it.
        let folder = tempfile::Builder::new().prefix("vdi-nginx-").tempdir()?.keep();
        fs::write(folder.join("vdi.conf"), site)?;
        fs::write(folder.join("nginx.conf"), format!("{main}\n{HTTP}"))?;
        let launch = Launch {
            arguments: ["-e", "stderr", "-c", "nginx.conf", "-p"]
                .map(Into::into)
                .into_iter()
                .chain([folder.clone().into()])
                .collect(),
            environment: vec![("FOLDER", folder.into())],
            cleanup: r#"rm -rf "$FOLDER""#,
            ..Launch::new("nginx", Path::new("/usr/sbin/nginx"))
        };
        let server = Server::start(&stack.cluster.logs(), launch)?;
        let mut nginx = Self { address, server };
        nginx.wait_until_it_listens().await?;
        Ok(nginx)
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    async fn wait_until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            self.server.check()?;
            match TcpStream::connect(self.address).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("nginx does not listen; see nginx.log");
                }
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// The configuration around a site: like Debian's /etc/nginx/nginx.conf, but in the foreground and in its own folder.
const HTTP: &str = "\
daemon off;
pid nginx.pid;
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include vdi.conf;
}
";
