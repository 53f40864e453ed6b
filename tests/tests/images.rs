//! The images of the controller and the gateway, in a registry. Stand-ins for the programs are enough to show what the images are
//! made of; the demo and the tests on a real node run the real ones.

use std::{collections::BTreeMap, fs, io::Read as _, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use axum::{
    body::Bytes,
    http::{Request, header},
};
use flate2::{Compression, read::GzDecoder};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use vdi_release::{
    digest,
    image::{self, Architecture, Image, Program, pack},
};
use vdi_tests::{
    registry::{PASSWORD, Registry, USERS},
    stand_in::{self, image, origin, programs},
    workspace,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// What the registry has under `path`, checked against the digest that the path ends in, if it does.
async fn get(registry: &Registry, repository: &str, path: &str) -> Result<Vec<u8>> {
    let url = format!("http://{}/v2/{repository}/{path}", registry.address);
    let request =
        Request::get(&url).header(header::ACCEPT, format!("{INDEX}, {MANIFEST}")).body(Empty::<Bytes>::new())?;
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await?;
    ensure!(response.status() == 200, "{url}: {response:?}");
    let body = response.into_body().collect().await?.to_bytes().to_vec();
    if let Some(expected) = path.rsplit('/').next().filter(|last| last.starts_with("sha256:")) {
        ensure!(digest(&body) == expected, "{url} has another digest");
    }
    Ok(body)
}

async fn get_json(registry: &Registry, repository: &str, path: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&get(registry, repository, path).await?)?)
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is not a string"))
}

/// What the manifest of the program's package says that it is.
fn description(program: Program) -> Result<String> {
    let manifest: toml::Table = fs::read_to_string(workspace().join(program.name()).join("Cargo.toml"))?.parse()?;
    let package = &manifest["package"];
    ensure!(package["name"].as_str() == Some(program.package()), "{package}");
    Ok(package["description"].as_str().context("no description")?.to_owned())
}

/// Path, mode, owner, time and content.
type Entry = (String, u32, u64, u64, Vec<u8>);

/// The entries of a layer, in its order.
fn entries(tar: &[u8]) -> Result<Vec<Entry>> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries()?.map(|entry| {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let header = entry.header();
        let owner = header.uid()? + header.gid()?;
        Ok((entry.path()?.display().to_string(), header.mode()?, owner, header.mtime()?, content))
    });
    entries.collect()
}

#[tokio::test]
async fn an_image_has_one_program_its_certificates_and_its_user_for_each_architecture() -> Result<()> {
    if !Registry::can_run().await? {
        return Ok(());
    }
    let (registry, folder) = (Registry::start(None).await?, tempfile::tempdir()?);
    for program in Program::ALL {
        let (name, file) = (program.name(), program.package());
        let image = image(program, &folder.path().join(name))?;
        let reference = format!("{}/{name}:v1", registry.address);
        let immutable = image::push(&image, &reference, &registry.docker_config()).await?;
        ensure!(immutable == format!("{}/{name}@{}", registry.address, image.digest), "{immutable}");

        let index = get_json(&registry, name, "manifests/v1").await?;
        ensure!(index == get_json(&registry, name, &format!("manifests/{}", image.digest)).await?);
        ensure!(index["mediaType"] == INDEX && index["schemaVersion"] == 2, "{index:#}");
        let manifests = index["manifests"].as_array().context("no manifests")?;
        let platforms: Vec<_> = manifests.iter().map(|manifest| manifest["platform"].clone()).collect();
        let platform = |architecture: Architecture| json!({"architecture": architecture.name(), "os": "linux"});
        ensure!(platforms == Architecture::ALL.map(platform), "{index:#}");
        for (descriptor, architecture) in manifests.iter().zip(Architecture::ALL) {
            let manifest = get_json(&registry, name, &format!("manifests/{}", text(&descriptor["digest"])?)).await?;
            ensure!(descriptor["mediaType"] == MANIFEST && manifest["mediaType"] == MANIFEST, "{manifest:#}");
            let [layer] = &manifest["layers"].as_array().context("no layers")?[..] else {
                anyhow::bail!("not one layer: {manifest:#}");
            };
            let gzip = get(&registry, name, &format!("blobs/{}", text(&layer["digest"])?)).await?;
            ensure!(layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip" && layer["size"] == gzip.len());
            let mut tar = Vec::new();
            GzDecoder::new(&gzip[..]).read_to_end(&mut tar)?;

            let config = get_json(&registry, name, &format!("blobs/{}", text(&manifest["config"]["digest"])?)).await?;
            let labels = json!({
                "org.opencontainers.image.created": "2026-01-02T03:04:05Z",
                "org.opencontainers.image.description": description(program)?,
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.revision": "0123456789abcdef0123456789abcdef01234567",
                "org.opencontainers.image.source": "https://github.com/vdiwarden/vdiwarden",
                "org.opencontainers.image.title": format!("vdiwarden {name}"),
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            });
            let expected = json!({
                "architecture": architecture.name(),
                "config": {
                    "Entrypoint": [format!("/{file}")],
                    "Labels": labels,
                    "User": "65532:65532",
                    "WorkingDir": "/",
                },
                "created": "2026-01-02T03:04:05Z",
                "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "cargo xtask image build"}],
                "os": "linux",
                "rootfs": {"diff_ids": [digest(&tar)], "type": "layers"},
            });
            ensure!(config == expected, "{config:#}");
            ensure!(manifest["annotations"] == labels && index["annotations"] == labels, "{manifest:#}");

            let entries: [Entry; 7] = entries(&tar)?.try_into().ok().context("not seven files and folders")?;
            let modes = entries.each_ref().map(|(path, mode, ..)| (path.as_str(), *mode));
            let expected = [
                ("etc/", 0o755),
                ("etc/group", 0o644),
                ("etc/passwd", 0o644),
                ("etc/ssl/", 0o755),
                ("etc/ssl/certs/", 0o755),
                (CERTIFICATES, 0o644),
                (file, 0o755),
            ];
            ensure!(modes == expected, "{modes:?}");
            ensure!(entries.iter().all(|(_, _, owner, time, _)| (*owner, *time) == (0, 0)));
            let [_, group, passwd, _, _, certificates, program] = entries.map(|entry| entry.4);
            ensure!(program == stand_in::program(architecture));
            ensure!(passwd == b"nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n" && group == b"nonroot:x:65532:\n");
            ensure!(String::from_utf8(certificates)?.matches("-----BEGIN CERTIFICATE-----").count() > 100);
        }
    }
    Ok(())
}

#[test]
fn packing_the_same_programs_twice_gives_the_same_bytes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for program in Program::ALL {
        let new = programs(&folder.path().join("new"), 0o755, Duration::ZERO)?;
        let old = programs(&folder.path().join("a longer path/old"), 0o600, Duration::from_hours(1000))?;
        let pack = |binaries| pack(program, &binaries, &origin(), Compression::best());
        let (new, old) = (pack(new)?, pack(old)?);
        ensure!(new.digest == old.digest && new.archive == old.archive);
    }
    Ok(())
}

#[test]
fn only_static_programs_for_their_architecture_are_packed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut binaries = programs(folder.path(), 0o755, Duration::ZERO)?;
    let dynamic = std::env::current_exe()?;
    let error = |binaries: &BTreeMap<Architecture, PathBuf>| match pack(
        Program::Gateway,
        binaries,
        &origin(),
        Compression::fast(),
    ) {
        Ok(_) => anyhow::bail!("this should have failed"),
        Err(error) => Ok(format!("{error:#}")),
    };
    let here = Architecture::of_this_machine()?;
    binaries.insert(here, dynamic.clone());
    let why = error(&binaries)?;
    ensure!(why.contains("dynamic loader") && why.contains(&dynamic.display().to_string()), "{why}");
    let swapped = BTreeMap::from([(Architecture::Amd64, folder.path().join("arm64"))]);
    fs::write(folder.path().join("arm64"), stand_in::program(Architecture::Arm64))?;
    let why = error(&swapped)?;
    ensure!(why.contains("another machine") && why.contains("amd64"), "{why}");
    Ok(())
}

#[tokio::test]
async fn pushing_again_sends_nothing_that_the_registry_has() -> Result<()> {
    if !Registry::can_run().await? {
        return Ok(());
    }
    let (registry, folder) = (Registry::start(None).await?, tempfile::tempdir()?);
    let image = image(Program::Gateway, folder.path())?;
    let push = async |tag: &str| {
        image::push(&image, &format!("{}/vdi/gateway:{tag}", registry.address), &registry.docker_config()).await
    };
    let first = push("v1").await?;
    let uploads = || -> Result<usize> { Ok(registry.log()?.matches("http.request.method=POST").count()) };
    let before = uploads()?;
    ensure!(before > 0, "the log shows no uploads: {}", registry.log()?);
    ensure!(push("v2").await? == first && uploads()? == before, "{}", registry.log()?);
    ensure!(
        get(&registry, "vdi/gateway", "manifests/v2").await? == get(&registry, "vdi/gateway", "manifests/v1").await?
    );

    let why = match push(&format!("v1@{}", image.digest)).await {
        Ok(reference) => anyhow::bail!("{reference} was pushed"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(why.contains("push to a tag"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_registry_with_users_gets_the_credentials_of_docker_login() -> Result<()> {
    if !Registry::can_run().await? {
        return Ok(());
    }
    let (registry, folder) = (Registry::start(Some(USERS)).await?, tempfile::tempdir()?);
    let image = image(Program::Controller, folder.path())?;
    let reference = format!("{}/controller:v1", registry.address);
    let nobody = image::push(&image, &reference, &registry.docker_config()).await;
    let error = format!("{:#}", nobody.err().context("it was pushed without a login")?);
    ensure!(error.contains(&format!("docker login {}", registry.address)), "{error}");
    registry.log_in("alice", PASSWORD)?;
    image::push(&image, &reference, &registry.docker_config()).await?;
    Ok(())
}

#[tokio::test]
async fn a_damaged_archive_is_not_pushed() -> Result<()> {
    if !Registry::can_run().await? {
        return Ok(());
    }
    let (registry, folder) = (Registry::start(None).await?, tempfile::tempdir()?);
    let image = image(Program::Controller, folder.path())?;
    let mut bytes = fs::read(&image.archive)?;
    // The magic number of the first layer.
    let layer = bytes.windows(3).position(|window| window == b"\x1f\x8b\x08").context("no layer")?;
    bytes[layer + 100] ^= 1;
    fs::write(&image.archive, bytes)?;
    let reference = format!("{}/controller:v1", registry.address);
    let pushed = image::push(&image, &reference, &registry.docker_config()).await;
    let why = format!("{:#}", pushed.err().context("it was pushed")?);
    ensure!(why.contains("is damaged"), "{why}");
    ensure!(get(&registry, "controller", "manifests/v1").await.is_err(), "the tag is there");
    Ok(())
}

#[test]
fn a_file_that_is_no_image_is_not_opened() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("image.tar");
    let open = || Image::open("desktop", file.clone()).map_err(|error| format!("{error:#}"));
    ensure!(open().is_err_and(|why| why.contains("image.tar")), "there is no file");
    fs::write(&file, "no archive")?;
    ensure!(open().is_err_and(|why| why.contains("not an image's OCI archive")), "{:?}", open());
    let mut archive = tar::Builder::new(fs::File::create(&file)?);
    for (path, content) in [("oci-layout", "{}"), ("index.json", r#"{"schemaVersion": 2, "manifests": []}"#)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content.as_bytes())?;
    }
    archive.finish()?;
    ensure!(open().is_err_and(|why| why.contains("0 images")), "{:?}", open());
    Ok(())
}
