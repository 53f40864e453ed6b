//! A release in a registry on loopback: that it can be verified, and that nothing else can. Stand-ins for the programs are enough; the
//! policy, the chart and the desktop are real.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vdi_release::{
    VERSION, digest,
    image::{self, Architecture, Image, Program},
    policy,
    publish::{Destination, Published, Release, Signer, notes, publish},
};
use vdi_tests::{
    helm::{self, Helm},
    process,
    registry::{PASSWORD, Registry},
    setup,
    shared::Shared,
    stand_in, workspace,
};

/// A release that all tests look at, in a registry that none of them changes.
struct Released {
    registry: Registry,
    folder: tempfile::TempDir,
    release: Release,
    published: Vec<Published>,
}

impl Released {
    async fn new() -> Result<Self> {
        setup::wasm_target()?;
        let (registry, folder) = (Registry::start(None).await?, tempfile::tempdir()?);
        let release = release(folder.path()).await?;
        key(folder.path(), "cosign").await?;
        let destination = destination(&registry, folder.path()).await?;
        let published = publish(&release, &destination).await?;
        Ok(Self { registry, folder, release, published })
    }

    /// The folder with the release's files.
    fn files(&self) -> PathBuf {
        self.folder.path().join("release")
    }

    fn read(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.files().join(name))?)
    }

    /// The reference of what is published in this repository.
    fn reference(&self, repository: &str) -> Result<&str> {
        let prefix = format!("{}/{repository}@", self.registry.address);
        let found = self.published.iter().find(|published| published.reference.starts_with(&prefix));
        Ok(&found.with_context(|| format!("{repository} isn't published"))?.reference)
    }

    /// What is stated about something, signed by the release's key.
    async fn statements(&self, reference: &str, kind: &str) -> Result<Vec<Value>> {
        let key = self.folder.path().join("cosign.pub");
        let output = cosign(&["verify-attestation", "--type", kind, reference, "--key", path(&key)?]).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let envelopes = String::from_utf8(output.stdout)?;
        let statement = |envelope: &str| {
            let envelope: Value = serde_json::from_str(envelope)?;
            let payload = envelope["payload"].as_str().context("no payload")?;
            Ok(serde_json::from_slice(&base64(payload)?)?)
        };
        envelopes.lines().map(statement).collect()
    }
}

fn with_release(test: impl AsyncFnOnce(&'static Released) -> Result<()>) -> Result<()> {
    static RELEASED: Shared<Released> = Shared::new();
    if !vdi_cluster::is_root() && std::env::var_os("CI").is_none() {
        eprintln!("skipped: a registry and the desktop's image need root");
        return Ok(());
    }
    RELEASED.with(Released::new, test)
}

async fn release(folder: &Path) -> Result<Release> {
    let mut images = Vec::new();
    for program in Program::ALL {
        images.push(stand_in::image(program, &folder.join(program.name()))?);
    }
    let here = Architecture::of_this_machine()?;
    let desktop = Image::open("desktop", setup::desktop_image().await?)?;
    let packed = image::index("desktop", "A desktop", &[(here, desktop)], &stand_in::origin())?;
    let archive = folder.join("desktop.oci.tar");
    fs::write(&archive, packed.archive)?;
    images.push(Image::open("desktop", archive)?);
    Ok(Release {
        sources: workspace().to_owned(),
        origin: stand_in::origin(),
        images,
        policy: fs::read(process::blocking(policy::build).await?)?,
        notes: "### Added\n".to_owned(),
    })
}

async fn destination(registry: &Registry, folder: &Path) -> Result<Destination> {
    let key = path(&folder.join("cosign.key"))?.to_owned();
    Ok(Destination {
        registry: registry.address.clone(),
        docker_config: registry.docker_config(),
        folder: folder.join("release"),
        signer: Some(Signer::Key { key, password: PASSWORD.to_owned() }),
        cosign: setup::cosign().await?,
        syft: setup::syft().await?,
    })
}

/// Makes a key: NAME.key and NAME.pub in a folder.
async fn key(folder: &Path, name: &str) -> Result<()> {
    let prefix = folder.join(name);
    let output = cosign(&["generate-key-pair", "--output-key-prefix", path(&prefix)?]).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn cosign(arguments: &[&str]) -> Result<Output> {
    let mut cosign = Command::new(setup::cosign().await?);
    cosign.args(arguments).env("COSIGN_PASSWORD", PASSWORD);
    if arguments[0].starts_with("verify") {
        cosign.arg("--insecure-ignore-tlog");
    }
    Ok(cosign.output()?)
}

async fn verifies(reference: &str, key: &Path) -> Result<bool> {
    Ok(cosign(&["verify", reference, "--key", path(key)?]).await?.status.success())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("not in UTF-8")
}

fn base64(text: &str) -> Result<Vec<u8>> {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    Ok(BASE64_STANDARD.decode(text)?)
}

#[test]
fn a_release_is_verified_by_the_commands_in_the_documentation() -> Result<()> {
    with_release(async |released| {
        let install = fs::read_to_string(workspace().join("docs/install.md"))?;
        let commands = install.split("```sh\n").find(|block| block.starts_with("sha256sum --check"));
        let commands =
            commands.and_then(|block| block.split("```").next()).context("no commands in the documentation")?;
        let cosign = setup::cosign().await?;
        let directory = cosign.parent().context("no folder")?.display();
        let path = format!("{directory}:{}", std::env::var("PATH")?);
        let run =
            || Command::new("sh").args(["-euc", commands]).current_dir(released.files()).env("PATH", &path).output();
        let output = run()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let images = released.read("images.txt")?;
        let references: Vec<_> = released.published.iter().map(|published| published.reference.as_str()).collect();
        ensure!(images.lines().eq(references), "{images}");
        let repositories = ["controller", "gateway", "desktop", "policies/vdisession", "charts/vdiwarden"];
        ensure!(images.lines().count() == repositories.len());
        for repository in repositories {
            released.reference(repository)?;
        }
        Ok(())
    })
}

#[test]
fn what_is_unsigned_altered_or_signed_by_somebody_else_is_not_verified() -> Result<()> {
    with_release(async |released| {
        let (registry, folder) = (Registry::start(None).await?, tempfile::tempdir()?);
        let (right, other) = (released.folder.path().join("cosign.pub"), folder.path().join("other.pub"));
        key(folder.path(), "other").await?;
        for published in &released.published {
            ensure!(verifies(&published.reference, &right).await? && verifies(&published.tagged, &right).await?);
            ensure!(!verifies(&published.reference, &other).await?, "{} by another key", published.reference);
        }
        // Somebody replaces what a tag means: by something else, and by what has a signature, though for another image.
        let controller = stand_in::image(Program::Controller, &folder.path().join("controller"))?;
        let gateway = stand_in::image(Program::Gateway, &folder.path().join("gateway"))?;
        let tag = format!("{}/controller:{VERSION}", registry.address);
        image::push(&controller, &tag, &registry.docker_config()).await?;
        ensure!(!verifies(&tag, &right).await?, "unsigned");
        let signed = format!("{}@{}", tag.trim_end_matches(&format!(":{VERSION}")), controller.digest);
        let private = path(&released.folder.path().join("cosign.key"))?.to_owned();
        let offline = folder.path().join("offline.json");
        fs::write(&offline, r#"{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}"#)?;
        let signing = ["sign", "--yes", "--key", &private, "--signing-config", path(&offline)?, &signed];
        let output = cosign(&signing).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ensure!(verifies(&tag, &right).await?, "signed");
        image::push(&gateway, &tag, &registry.docker_config()).await?;
        ensure!(!verifies(&tag, &right).await?, "the tag is of another image now");

        // The files.
        let files = folder.path().join("files");
        fs::create_dir(&files)?;
        for name in ["SHA256SUMS", "SHA256SUMS.sigstore.json", "install.yaml"] {
            fs::copy(released.files().join(name), files.join(name))?;
        }
        let sums = files.join("SHA256SUMS");
        let (bundle, right) = (files.join("SHA256SUMS.sigstore.json"), path(&right)?);
        let verify = ["verify-blob", path(&sums)?, "--bundle", path(&bundle)?, "--key", right];
        ensure!(cosign(&verify).await?.status.success());
        fs::write(files.join("install.yaml"), "altered")?;
        let check = ["--check", "--ignore-missing", "SHA256SUMS"];
        ensure!(!Command::new("sha256sum").args(check).current_dir(&files).output()?.status.success());
        let hex = digest(b"altered").replace("sha256:", "");
        let original = fs::read_to_string(&sums)?;
        let altered = original.lines().map(|line| match line.split_once("  ") {
            Some((_, "install.yaml")) => format!("{hex}  install.yaml\n"),
            _ => format!("{line}\n"),
        });
        let altered: String = altered.collect();
        fs::write(&sums, altered)?;
        ensure!(Command::new("sha256sum").args(check).current_dir(&files).output()?.status.success());
        ensure!(!cosign(&verify).await?.status.success(), "altered checksums");
        Ok(())
    })
}

#[test]
fn every_artifact_says_what_it_is_made_of_and_from_which_commit() -> Result<()> {
    with_release(async |released| {
        // A package that it has, and one that only others have.
        for (repository, bills, has, hasnt) in [
            ("controller", 2, "kube-runtime", "openidconnect"),
            ("gateway", 2, "openidconnect", "vdi-planner"),
            ("policies/vdisession", 1, "kubewarden-policy-sdk", "tokio"),
            ("desktop", 1, "tigervnc-standalone-server", "tokio"),
            ("charts/vdiwarden", 1, "chart", "tokio"),
        ] {
            let reference = released.reference(repository)?;
            let statements = released.statements(reference, "spdxjson").await?;
            ensure!(statements.len() == bills, "{repository} has {} bills of materials", statements.len());
            for statement in &statements {
                let packages = statement["predicate"]["packages"].as_array().context("no packages")?;
                let named = |name: &str| packages.iter().any(|package| package["name"] == name);
                ensure!(named(has) && !named(hasnt), "{repository}: {packages:#?}");
            }
            let [statement] = &released.statements(reference, "slsaprovenance1").await?[..] else {
                anyhow::bail!("{repository} has not one provenance");
            };
            let source = json!({
                "digest": {"gitCommit": stand_in::origin().revision},
                "uri": "git+https://github.com/vdiwarden/vdiwarden",
            });
            let definition = &statement["predicate"]["buildDefinition"];
            ensure!(definition["resolvedDependencies"][0] == source, "{statement:#}");
            let digest = reference.rsplit(':').next().context("no digest")?;
            ensure!(statement["subject"][0]["digest"]["sha256"] == digest, "{statement:#}");
        }
        // Of the image for one architecture too, which is what a node has.
        for (architecture, digest) in released.release.images[0].platforms()? {
            let reference = format!("{}/controller@{digest}", released.registry.address);
            ensure!(verifies(&reference, &released.folder.path().join("cosign.pub")).await?, "{reference}");
            let statements = released.statements(&reference, "spdxjson").await?;
            ensure!(statements.len() == 1, "{architecture}");
            ensure!(statements[0]["predicate"]["name"] == format!("controller-{architecture}"));
        }
        Ok(())
    })
}

#[test]
fn the_released_chart_and_manifest_run_what_was_released_with_them() -> Result<()> {
    with_release(async |released| {
        let helm = Helm::new(4).await?;
        let chart = format!("oci://{}/charts/vdiwarden", released.registry.address);
        let arguments = ["template", "vdiwarden", &chart, "--plain-http", "--version", VERSION];
        let values =
            ["--namespace=vdiwarden-system", "--kube-version=1.35", "--set=domain=vdi.example.com", "--skip-tests"];
        let rendered = helm::output(helm.command().args(arguments).args(values)).await?;
        for name in ["controller", "gateway"] {
            let reference = released.reference(name)?.replace(&released.registry.address, "ghcr.io/vdiwarden");
            ensure!(rendered.contains(&format!("image: {reference}\n")), "{name} in the chart");
        }
        ensure!(!rendered.contains(&format!(":{VERSION}\n")), "an image without digest");
        ensure!(
            released.read("install.yaml")?.ends_with(&rendered),
            "install.yaml is the chart with its default values"
        );

        let archive = released.files().join(format!("vdiwarden-{VERSION}.tgz"));
        let values = helm::output(helm.command().args(["show", "values"]).arg(&archive)).await?;
        for (name, repository) in [("policy", "policies/vdisession"), ("desktop", "desktop")] {
            let digest = released.reference(repository)?.split('@').nth(1).context("no digest")?.to_owned();
            let values: Value = serde_saphyr::from_str(&values)?;
            ensure!(values["images"][name]["digest"] == digest, "{name}: {values:#}");
        }
        ensure!(values.contains("# Its digest, which takes precedence over the tag."), "the comments are lost");
        helm::output(helm.command().args(["lint", "--strict", "--set=domain=vdi.example.com"]).arg(&archive))
            .await
            .map(drop)
    })
}

#[test]
fn two_releases_of_a_commit_have_the_same_digests_and_files() -> Result<()> {
    with_release(async |released| {
        let (registry, folder) = (Registry::start(None).await?, tempfile::tempdir()?);
        let release = release(folder.path()).await?;
        let destination = Destination { signer: None, ..destination(&registry, folder.path()).await? };
        let published = publish(&release, &destination).await?;
        for (one, two) in released.published.iter().zip(&published) {
            ensure!(one.reference.replace(&released.registry.address, &registry.address) == two.reference);
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&destination.folder)? {
            let path = entry?.path();
            let name = path.file_name().context("no name")?.to_string_lossy().into_owned();
            let there = released.read(&name).map(|text| text.replace(&released.registry.address, &registry.address));
            // Not all are text.
            let same = match there {
                Ok(there) => name == "SHA256SUMS" || fs::read_to_string(&path)? == there,
                Err(_) => fs::read(&path)? == fs::read(released.files().join(&name))?,
            };
            ensure!(same, "{name} differs");
            names.push(name);
        }
        names.sort();
        insta::assert_snapshot!(names.join("\n").replace(VERSION, "VERSION"));
        Ok(())
    })
}

#[test]
fn a_version_is_never_replaced_by_other_contents() -> Result<()> {
    with_release(async |released| {
        let folder = tempfile::tempdir()?;
        let mut release = release(folder.path()).await?;
        let destination = Destination { signer: None, ..destination(&released.registry, folder.path()).await? };
        publish(&release, &destination).await.context("the same again")?;
        release.images[1] = stand_in::image(Program::Controller, &folder.path().join("another"))?;
        release.images[1].name = "gateway".to_owned();
        let before = released.registry.log()?.matches("http.request.method=PUT").count();
        let error = publish(&release, &destination).await.err().context("it was replaced")?.to_string();
        ensure!(error.contains(&format!("gateway:{VERSION} is released already, with other contents")), "{error}");
        ensure!(error.contains("raise the version in Cargo.toml"), "{error}");
        let after = released.registry.log()?.matches("http.request.method=PUT").count();
        ensure!(before == after, "something was pushed");
        Ok(())
    })
}

#[test]
fn a_folder_with_other_files_is_left_alone() -> Result<()> {
    with_release(async |released| {
        let (registry, folder) = (Registry::start(None).await?, tempfile::tempdir()?);
        let destination = Destination { signer: None, ..destination(&registry, folder.path()).await? };
        fs::create_dir(&destination.folder)?;
        fs::write(destination.folder.join("thesis.txt"), "text")?;
        let error = format!("{:#}", publish(&released.release, &destination).await.err().context("it was emptied")?);
        ensure!(error.contains("has files that are no release's"), "{error}");
        ensure!(destination.folder.join("thesis.txt").exists());
        ensure!(!registry.log()?.contains("http.request.method=PUT"), "something was pushed");
        Ok(())
    })
}

#[test]
fn the_changelog_has_notes_for_the_next_release() -> Result<()> {
    let changelog = fs::read_to_string(workspace().join("CHANGELOG.md"))?;
    let notes = notes(&changelog, "Unreleased").or_else(|_| notes(&changelog, VERSION))?;
    ensure!(notes.contains("- "), "{notes}");
    Ok(())
}
