//! Policies in a real registry: Debian's docker-registry on loopback.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use axum::{
    body::Bytes,
    http::{Request, header},
};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use vdi_release::{
    digest,
    policy::{
        artifact::{pull, push},
        metadata,
    },
};
use vdi_tests::registry::{self, PASSWORD, USERS};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry of its own for every test.
struct Registry {
    server: registry::Registry,
}

impl Registry {
    /// Starts a registry, for everybody or for the users of an htpasswd file.
    async fn start(users: Option<&str>) -> Result<Self> {
        Ok(Self { server: registry::Registry::start(users).await? })
    }

    fn reference(&self, rest: &str) -> String {
        format!("{}/policies/vdisession{rest}", self.server.address)
    }

    fn docker_config(&self) -> PathBuf {
        self.server.docker_config()
    }

    fn log_in(&self, password: &str) -> Result<()> {
        self.server.log_in("alice", password)
    }

    async fn push(&self, module: &[u8]) -> Result<String> {
        push(module, &self.reference(":v1"), &self.docker_config()).await
    }

    async fn pull(&self, rest: &str) -> Result<Vec<u8>> {
        Ok(pull(&self.reference(rest), &self.docker_config()).await?.module)
    }

    /// Changes the blob of a digest on the registry's disk.
    fn tamper(&self, digest: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let file = self.server.blob(digest)?;
        let mut content = fs::read(&file)?;
        change(&mut content);
        Ok(fs::write(file, content)?)
    }
}

/// A small module with every kind of annotation.
fn module() -> Result<Vec<u8>> {
    let annotations = json!({
        "io.kubewarden.policy.title": "vdisession",
        "io.kubewarden.policy.source": " https://example.com/source\n",
        "io.kubewarden.policy.usage": "More than\none line",
    });
    metadata::annotate(b"\0asm\x01\0\0\0", &json!({"annotations": annotations}))
}

fn error_of(result: Result<impl std::fmt::Debug>) -> Result<String> {
    match result {
        Ok(value) => anyhow::bail!("this should have failed: {value:?}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

#[tokio::test]
async fn a_pushed_policy_can_be_pulled() -> Result<()> {
    if !registry::Registry::can_run().await? {
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

    let error = error_of(push(&module, &immutable, &registry.docker_config()).await)?;
    ensure!(error.contains("push to a tag such as"), "{error}");
    let error = error_of(registry.pull(":v2").await)?;
    ensure!(error.contains("has no") && error.contains("vdisession:v2"), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_manifest_has_kubewardens_layout() -> Result<()> {
    if !registry::Registry::can_run().await? {
        return Ok(());
    }
    let registry = Registry::start(None).await?;
    let module = module()?;
    let immutable = registry.push(&module).await?;

    let url = format!("http://{}/v2/policies/vdisession/manifests/v1", registry.server.address);
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
async fn a_registry_with_users_gets_the_credentials_of_docker_login() -> Result<()> {
    if !registry::Registry::can_run().await? {
        return Ok(());
    }
    let registry = Registry::start(Some(USERS)).await?;
    let module = module()?;
    let login = format!("docker login {}", registry.server.address);
    let config = registry.docker_config().join("config.json").display().to_string();

    let nobody = error_of(registry.push(&module).await)?;
    ensure!(nobody.contains("no credentials") && nobody.contains(&login) && nobody.contains(&config), "{nobody}");
    registry.log_in("wrong")?;
    for wrong in [error_of(registry.push(&module).await)?, error_of(registry.pull(":v1").await)?] {
        ensure!(wrong.contains("refuses the user \"alice\"") && wrong.contains(&login), "{wrong}");
        ensure!(wrong.contains(&config) && !wrong.contains("\"wrong\""), "{wrong}");
    }
    registry.log_in(PASSWORD)?;
    registry.push(&module).await?;
    ensure!(registry.pull(":v1").await? == module);
    Ok(())
}

#[tokio::test]
async fn content_that_does_not_match_its_digest_is_refused() -> Result<()> {
    if !registry::Registry::can_run().await? {
        return Ok(());
    }
    let registry = Registry::start(None).await?;
    let module = module()?;
    let immutable = registry.push(&module).await?;
    let (_, manifest) = immutable.split_once('@').context("no digest")?;

    let other = format!("@{}", digest(b"something else"));
    let error = error_of(registry.pull(&other).await)?;
    ensure!(error.contains("has no") && error.contains(&other), "{error}");

    registry.tamper(&digest(&module), |content| content[8] ^= 1)?;
    let error = error_of(registry.pull(":v1").await)?;
    ensure!(error.contains(&digest(&module)), "{error}");
    registry.tamper(&digest(&module), |content| content.push(0))?;
    let error = error_of(registry.pull(":v1").await)?;
    ensure!(error.contains(&format!("not {}", module.len())) || error.contains("more than"), "{error}");

    registry.tamper(manifest, |content| content.push(b' '))?;
    let error = error_of(registry.pull(&format!("@{manifest}")).await)?;
    ensure!(error.contains(manifest), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_module_that_is_not_a_policy_is_neither_pushed_nor_pulled() -> Result<()> {
    if !registry::Registry::can_run().await? {
        return Ok(());
    }
    let registry = Registry::start(None).await?;
    let error = error_of(registry.push(b"\0asm\x01\0\0\0").await)?;
    ensure!(error.contains("no metadata"), "{error}");

    // With the size and the digest in its manifest, but without metadata.
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
    let error = error_of(registry.pull(":bare").await)?;
    ensure!(error.contains("not a Kubewarden policy") && error.contains("annotate"), "{error}");

    let mut image = manifest;
    image["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
    upload(&registry, bare, &image).await?;
    let error = error_of(registry.pull(":bare").await)?;
    ensure!(error.contains("not a policy") && error.contains("layer.v1.tar"), "{error}");
    Ok(())
}

/// Uploads any blob, and any manifest as the tag `bare`.
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
