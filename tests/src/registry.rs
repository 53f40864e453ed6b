//! A real OCI registry: Debian's docker-registry on loopback.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use vdi_cluster::{Launch, Server};

use crate::setup;

/// An htpasswd file with one user, alice, and her [`PASSWORD`], as `htpasswd -B` writes it.
pub const USERS: &str = "alice:$2b$04$4M6NxG3HKN4qNdvQcf5AWeDL6RGjKPlzpeeswLZEfgIYvnEu.sH9.\n";
pub const PASSWORD: &str = "secret";

/// A registry without data, and an empty folder for Docker's configuration.
pub struct Registry {
    /// As references begin, `127.0.0.1:PORT`.
    pub address: String,
    folder: TempDir,
    _server: Server,
}

impl Registry {
    /// Whether a registry can run here. Without one, the tests are skipped, or fail in CI.
    pub async fn can_run() -> Result<bool> {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        match INSTALLED.get_or_try_init(setup::registry).await {
            Err(error) if !vdi_cluster::is_root() && std::env::var_os("CI").is_none() => {
                eprintln!("skipped: {error}");
                Ok(false)
            }
            installed => installed.map(|()| true),
        }
    }

    /// Starts a registry, for everybody or for the users of an htpasswd file.
    pub async fn start(users: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let mut configuration = json!({
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": at("data")}},
            // The kernel chooses a free port, and the log says which.
            "http": {"addr": "127.0.0.1:0"},
        });
        if let Some(users) = users {
            fs::write(at("users"), users)?;
            configuration["auth"] = json!({"htpasswd": {"realm": "test", "path": at("users")}});
        }
        // JSON is YAML.
        fs::write(at("registry.yml"), configuration.to_string())?;
        fs::create_dir(at("docker"))?;
        let launch = Launch {
            arguments: vec!["serve".into(), at("registry.yml").into()],
            ..Launch::new("docker-registry", Path::new("/usr/bin/docker-registry"))
        };
        let mut server = Server::start(folder.path(), launch)?;
        let address = address(&mut server, &at("docker-registry.log")).await?;
        Ok(Self { address, folder, _server: server })
    }

    pub fn docker_config(&self) -> PathBuf {
        self.folder.path().join("docker")
    }

    /// Writes credentials as `docker login` does.
    pub fn log_in(&self, user: &str, password: &str) -> Result<()> {
        let auths = json!({"auths": {&self.address: {"username": user, "password": password}}});
        Ok(fs::write(self.docker_config().join("config.json"), auths.to_string())?)
    }

    /// All requests so far, a line each, with other lines between them.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("docker-registry.log"))?)
    }

    /// Where the registry keeps the blob of a digest.
    pub fn blob(&self, digest: &str) -> Result<PathBuf> {
        let hex = digest.strip_prefix("sha256:").context("no digest")?;
        Ok(self.folder.path().join("data/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data"))
    }
}

async fn address(server: &mut Server, log: &Path) -> Result<String> {
    loop {
        server.check()?;
        let log = fs::read_to_string(log)?;
        let port =
            log.split("listening on 127.0.0.1:").nth(1).and_then(|rest| rest.split_once(|c: char| !c.is_numeric()));
        if let Some((port, _)) = port {
            return Ok(format!("127.0.0.1:{port}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
