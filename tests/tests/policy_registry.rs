//! Policies in a real registry, which is Debian's docker-registry on loopback.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use axum::{
    body::Bytes,
    http::{Request, header},
};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use vdi_cluster::{Launch, Server};
use vdi_release::{
    digest,
    policy::{
        artifact::{pull, push},
        metadata,
    },
};
use vdi_tests::setup;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// alice's password, as `htpasswd -B` writes it.
const USERS: &str = "alice:$2b$04$4M6NxG3HKN4qNdvQcf5AWeDL6RGjKPlzpeeswLZEfgIYvnEu.sH9.\n";
const PASSWORD: &str = "secret";

/// Whether there can be a registry here. What is skipped on somebody's laptop must not be skipped in CI.
async fn can_run() -> Result<bool> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    match INSTALLED.get_or_try_init(setup::registry).await {
        Err(why) if !vdi_cluster::is_root() && std::env::var_os("CI").is_none() => {
            eprintln!("skipped: {why}");
            Ok(false)
        }
        installed => installed.map(|()| true),
    }
}

/// A registry of its own for every test, and an empty folder for Docker's configuration.
struct Registry {
    address: String,
    folder: TempDir,
    _server: Server,
}

impl Registry {
    /// For everybody, or for those in the htpasswd file.
    async fn start(users: Option<&str>) -> Result<Self> {
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

    fn reference(&self, rest: &str) -> String {
        format!("{}/policies/vdisession{rest}", self.address)
    }

    fn docker_config(&self) -> PathBuf {
        self.folder.path().join("docker")
    }

    /// Writes the password where `docker login` does.
    fn log_in(&self, password: &str) -> Result<()> {
        let auths = json!({"auths": {&self.address: {"username": "alice", "password": password}}});
        Ok(fs::write(self.docker_config().join("config.json"), auths.to_string())?)
    }

    async fn push(&self, module: &[u8]) -> Result<String> {
        push(module, &self.reference(":v1"), &self.docker_config()).await
    }

    async fn pull(&self, rest: &str) -> Result<Vec<u8>> {
        Ok(pull(&self.reference(rest), &self.docker_config()).await?.module)
    }

    /// Changes what is on the registry's disk for a digest.
    fn tamper(&self, digest: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let hex = digest.strip_prefix("sha256:").context("no digest")?;
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        let file = blobs.join(&hex[..2]).join(hex).join("data");
        let mut content = fs::read(&file)?;
        change(&mut content);
        Ok(fs::write(file, content)?)
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
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A module that is small, with annotations of every kind.
fn module() -> Result<Vec<u8>> {
    let annotations = json!({
        "io.kubewarden.policy.title": "vdisession",
        "io.kubewarden.policy.source": " https://example.com/source\n",
        "io.kubewarden.policy.usage": "More than\none line",
    });
    metadata::annotate(b"\0asm\x01\0\0\0", &json!({"annotations": annotations}))
}

fn error(result: Result<impl std::fmt::Debug>) -> Result<String> {
    match result {
        Ok(value) => anyhow::bail!("this should have failed: {value:?}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

#[tokio::test]
async fn what_is_pushed_is_pulled() -> Result<()> {
    if !can_run().await? {
        return Ok(());
    }
    let registry = Registry::start(None).await?;
    let module = module()?;
    let immutable = registry.push(&module).await?;
    for reference in [registry.reference(":v1"), immutable.clone(), format!("registry://{immutable}")] {
        let pulled = pull(&reference, &registry.docker_config()).await?;
        ensure!(pulled.module == module && pulled.reference == immutable, "{reference}: {pulled:?}");
    }
    ensure!(registry.push(&module).await? == immutable, "the same module has another digest");

    let why = error(push(&module, &immutable, &registry.docker_config()).await)?;
    ensure!(why.contains("push to a tag such as"), "{why}");
    let why = error(registry.pull(":v2").await)?;
    ensure!(why.contains("has no") && why.contains("vdisession:v2"), "{why}");
    Ok(())
}

#[tokio::test]
async fn the_manifest_is_laid_out_as_kubewarden_lays_it_out() -> Result<()> {
    if !can_run().await? {
        return Ok(());
    }
    let registry = Registry::start(None).await?;
    let module = module()?;
    let immutable = registry.push(&module).await?;

    let url = format!("http://{}/v2/policies/vdisession/manifests/v1", registry.address);
    let request = Request::get(url).header(header::ACCEPT, MANIFEST).body(Empty::<Bytes>::new())?;
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await?;
    ensure!(response.headers()[header::CONTENT_TYPE] == MANIFEST, "{response:?}");
    let body = response.into_body().collect().await?.to_bytes();
    let manifest: Value = serde_json::from_slice(&body)?;
    let expected = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.wasm.config.v1+json", "digest": digest(b"{}"), "size": 2},
        "layers": [{
            "mediaType": "application/vnd.wasm.content.layer.v1+wasm",
            "digest": digest(&module),
            "size": module.len(),
        }],
        "annotations": {
            "io.kubewarden.policy.title": "vdisession",
            "io.kubewarden.policy.source": "https://example.com/source",
            "org.opencontainers.image.source": "https://example.com/source",
        },
    });
    ensure!(manifest == expected, "{manifest:#}");
    ensure!(immutable == registry.reference(&format!("@{}", digest(&body))), "{immutable}");
    Ok(())
}

#[tokio::test]
async fn a_registry_with_users_is_told_who_pushes() -> Result<()> {
    if !can_run().await? {
        return Ok(());
    }
    let registry = Registry::start(Some(USERS)).await?;
    let module = module()?;
    let login = format!("docker login {}", registry.address);
    let config = registry.docker_config().join("config.json").display().to_string();

    let nobody = error(registry.push(&module).await)?;
    ensure!(nobody.contains("no credentials") && nobody.contains(&login) && nobody.contains(&config), "{nobody}");
    registry.log_in("wrong")?;
    for wrong in [error(registry.push(&module).await)?, error(registry.pull(":v1").await)?] {
        ensure!(wrong.contains("refuses the user \"alice\"") && wrong.contains(&login), "{wrong}");
        ensure!(wrong.contains(&config) && !wrong.contains("\"wrong\""), "{wrong}");
    }
    registry.log_in(PASSWORD)?;
    registry.push(&module).await?;
    ensure!(registry.pull(":v1").await? == module);
    Ok(())
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_refused() -> Result<()> {
    if !can_run().await? {
        return Ok(());
    }
    let registry = Registry::start(None).await?;
    let module = module()?;
    let immutable = registry.push(&module).await?;
    let (_, manifest) = immutable.split_once('@').context("no digest")?;

    let other = format!("@{}", digest(b"something else"));
    let why = error(registry.pull(&other).await)?;
    ensure!(why.contains("has no") && why.contains(&other), "{why}");

    registry.tamper(&digest(&module), |content| content[8] ^= 1)?;
    let why = error(registry.pull(":v1").await)?;
    ensure!(why.contains(&digest(&module)), "{why}");
    registry.tamper(&digest(&module), |content| content.push(0))?;
    let why = error(registry.pull(":v1").await)?;
    ensure!(why.contains(&format!("not {}", module.len())) || why.contains("more than"), "{why}");

    registry.tamper(manifest, |content| content.push(b' '))?;
    let why = error(registry.pull(&format!("@{manifest}")).await)?;
    ensure!(why.contains(manifest), "{why}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_policy_is_neither_pushed_nor_pulled() -> Result<()> {
    if !can_run().await? {
        return Ok(());
    }
    let registry = Registry::start(None).await?;
    let why = error(registry.push(b"\0asm\x01\0\0\0").await)?;
    ensure!(why.contains("no metadata"), "{why}");

    // As long and with the digest that the manifest says, but without metadata.
    let module = module()?;
    registry.push(&module).await?;
    let bare = b"\0asm\x01\0\0\0";
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.wasm.config.v1+json", "digest": digest(b"{}"), "size": 2},
        "layers": [{
            "mediaType": "application/vnd.wasm.content.layer.v1+wasm",
            "digest": digest(bare),
            "size": bare.len(),
        }],
    });
    upload(&registry, bare, &manifest).await?;
    let why = error(registry.pull(":bare").await)?;
    ensure!(why.contains("not a Kubewarden policy") && why.contains("annotate"), "{why}");

    let mut image = manifest;
    image["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
    upload(&registry, bare, &image).await?;
    let why = error(registry.pull(":bare").await)?;
    ensure!(why.contains("not a policy") && why.contains("layer.v1.tar"), "{why}");
    Ok(())
}

/// Puts a blob and, as the tag `bare`, a manifest into the registry, whatever they are.
async fn upload(registry: &Registry, blob: &[u8], manifest: &Value) -> Result<()> {
    use oci_client::{Client, Reference};
    let client = Client::try_from(oci_client::client::ClientConfig {
        protocol: oci_client::client::ClientProtocol::Http,
        ..Default::default()
    })?;
    let reference: Reference = registry.reference(":bare").parse()?;
    client.push_blob(&reference, blob.to_vec(), &digest(blob)).await?;
    client.push_manifest_raw(&reference, manifest.to_string(), MANIFEST.parse()?).await?;
    Ok(())
}
