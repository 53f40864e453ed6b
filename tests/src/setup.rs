//! Installs what tests and commands need on this machine. Each step does nothing if its result exists already.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use vdi_cluster::{Program, packages, progress};
use vdi_release::{command, image::Architecture};

use crate::{images, process, workspace};

/// Installs the standard library for the policy's target with rustup.
pub fn wasm_target() -> Result<()> {
    vdi_release::rust_target::ensure("wasm32-wasip1")
}

/// Why a real node can't run on this machine, `None` if it can.
pub fn why_no_real_node() -> Option<&'static str> {
    if !cfg!(target_os = "linux") {
        return Some("a real node needs Linux");
    }
    (!vdi_cluster::is_root()).then_some("a real node needs root")
}

const BROWSER: &[&str] = &["chromium", "chromium-driver"];
const REGISTRY: &[&str] = &["docker-registry"];
const NGINX: &[&str] = &["nginx"];
const FALSE_CLOCK: &[&str] = &["faketime"];
const NAMES: &[&str] = &["libnss-wrapper"];
const SELKIES: &[&str] = &["python3-venv", "pulseaudio"];
const EMULATOR: &[&str] = &["arch-test", "binfmt-support", "qemu-user-static"];

/// The Go modules that other projects' CRDs are read from.
pub const CRD_MODULES: [&str; 3] = [
    "github.com/cert-manager/cert-manager",
    "github.com/prometheus-operator/prometheus-operator",
    "sigs.k8s.io/gateway-api",
];

/// Installs everything that tests need, so that no test's time includes it.
pub async fn everything() -> Result<()> {
    for program in Program::ALL {
        program.ensure().await?;
    }
    oidc_provider().await?;
    actionlint().await?;
    helm(3).await?;
    helm(4).await?;
    promtool().await?;
    traefik().await?;
    cosign().await?;
    syft().await?;
    for module in CRD_MODULES {
        go_module(module).await?;
    }
    if let Some(why) = why_no_real_node() {
        eprintln!("No desktop image, browser, registry, nginx, false clock, names or Selkies: {why}");
        return Ok(());
    }
    // Together: each installation begins with `apt-get update`.
    packages::ensure(&[BROWSER, REGISTRY, NGINX, FALSE_CLOCK, NAMES, SELKIES].concat()).await?;
    selkies().await?;
    desktop_image().await?;
    images::for_this_machine().await.map(drop)
}

/// Installs Chromium and its driver.
pub async fn browser() -> Result<()> {
    Ok(packages::ensure(BROWSER).await?)
}

/// Installs an OCI registry, `/usr/bin/docker-registry`.
pub async fn registry() -> Result<()> {
    Ok(packages::ensure(REGISTRY).await?)
}

/// Installs nginx, `/usr/sbin/nginx`.
pub async fn nginx() -> Result<()> {
    Ok(packages::ensure(NGINX).await?)
}

/// Installs libfaketime, for a clock that jumps.
pub async fn false_clock() -> Result<()> {
    Ok(packages::ensure(FALSE_CLOCK).await?)
}

/// Installs nss_wrapper, for names that resolve as a test says.
pub async fn names() -> Result<()> {
    Ok(packages::ensure(NAMES).await?)
}

/// The path of Node.js.
pub fn node() -> Result<PathBuf> {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&directories).map(|directory| directory.join("node"));
    found.find(|path| path.exists()).context("node is not installed")
}

/// A folder with the OpenID provider of tests/oidc-provider and its npm packages.
pub async fn oidc_provider() -> Result<PathBuf> {
    if node().is_err() {
        packages::ensure(&["nodejs", "npm"]).await?;
    }
    let definition = workspace().join("tests/oidc-provider");
    install("oidc-provider", "the OpenID provider from npm", definition, |definition, folder| {
        for file in ["package.json", "package-lock.json", "server.mjs"] {
            std::fs::copy(definition.join(file), folder.join(file))?;
        }
        let mut npm = Command::new("npm");
        command::run(npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder))
    })
    .await
}

/// A folder with Selkies from PyPI (270 MB), to run as `bin/python3 -m selkies`. Installs the sound server that it listens to, too.
pub async fn selkies() -> Result<PathBuf> {
    packages::ensure(SELKIES).await?;
    install("selkies", "Selkies from PyPI", workspace().join("tests/selkies"), |definition, folder| {
        // The wheels in requirements.txt are for Debian's Python.
        command::run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "--only-binary=:all:",
            "--no-deps",
        ]);
        command::run(pip.arg("--requirement").arg(definition.join("requirements.txt")))
    })
    .await
}

/// The path of actionlint, a linter for GitHub workflows.
pub async fn actionlint() -> Result<PathBuf> {
    Ok(go_tool("actionlint", "github.com/rhysd/actionlint/cmd/actionlint").await?.join("actionlint"))
}

/// The path of Helm 3 or 4.
pub async fn helm(major: u8) -> Result<PathBuf> {
    let name = match major {
        3 => "helm3",
        _ => "helm4",
    };
    Ok(go_tool(name, &format!("helm.sh/helm/v{major}/cmd/helm")).await?.join("helm"))
}

/// The path of promtool, which checks and tests Prometheus' rules.
pub async fn promtool() -> Result<PathBuf> {
    Ok(go_tool("promtool", "github.com/prometheus/prometheus/cmd/promtool").await?.join("promtool"))
}

/// The path of cosign, which signs what is in a registry.
pub async fn cosign() -> Result<PathBuf> {
    Ok(go_tool("cosign", "github.com/sigstore/cosign/v3/cmd/cosign").await?.join("cosign"))
}

/// The path of syft, which lists what an artifact is made of.
pub async fn syft() -> Result<PathBuf> {
    Ok(go_tool("syft", "github.com/anchore/syft/cmd/syft").await?.join("syft"))
}

/// The path of Traefik, which implements the Gateway API.
pub async fn traefik() -> Result<PathBuf> {
    let definition = workspace().join("tests/traefik");
    let built = install("traefik", "Traefik from its Go module", definition, |definition, folder| {
        command::run(Command::new("sh").arg(definition.join("build.sh")).arg(folder))
    });
    Ok(built.await?.join("traefik"))
}

/// A folder with a program built from the Go module in tests/NAME.
async fn go_tool(name: &str, package: &str) -> Result<PathBuf> {
    let (definition, package) = (workspace().join("tests").join(name), package.to_owned());
    install(name, &format!("{name} from its Go module"), definition, |definition, folder| {
        let mut go = Command::new("go");
        go.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(folder).arg(package);
        command::run(go.env("CGO_ENABLED", "0").env("GOFLAGS", "").env("GOWORK", "off").current_dir(definition))
    })
    .await
}

/// The folder of a Go module that tests/crds requires. Its contents are what go.sum there says.
pub async fn go_module(path: &'static str) -> Result<PathBuf> {
    let download = move || {
        let mut go = Command::new("go");
        let go = go.args(["mod", "download", "-json", path]).env("GOFLAGS", "").env("GOWORK", "off");
        let output = go.current_dir(workspace().join("tests/crds")).output().context("can't run go")?;
        ensure!(output.status.success(), "go mod download {path}: {}", String::from_utf8_lossy(&output.stdout));
        let module: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(module["Dir"].as_str().context("go names no folder")?.into())
    };
    process::blocking(download).await
}

/// The path of a cargo subcommand such as `cargo-deny`, installed in the cache. A debug build takes a third of the time, and is
/// fast enough.
pub async fn cargo_tool(name: &'static str, version: &'static str) -> Result<PathBuf> {
    let root = vdi_cluster::cache_directory()?.join(name).join(version);
    let program = root.join("bin").join(name);
    if !program.exists() {
        let install = process::blocking(move || {
            let arguments = ["install", name, "--quiet", "--locked", "--debug", "--version", version, "--root"];
            command::run(command::cargo_in(workspace()).args(arguments).arg(root))
        });
        progress::step(&format!("Installing {name} (first time only, about a minute)"), install).await?;
    }
    Ok(program)
}

/// A folder in the cache, filled once for each version of its definition.
async fn install(
    name: &str,
    what: &str,
    definition: PathBuf,
    fill: impl FnOnce(&Path, &Path) -> Result<()> + Send + 'static,
) -> Result<PathBuf> {
    let cache = vdi_cluster::cache_directory()?;
    let folder = cache.join(format!("{name}-{:016x}", fingerprint(&definition)?));
    if folder.exists() {
        return Ok(folder);
    }
    let unfinished = progress::step(&format!("Installing {what} (first time only)"), async {
        std::fs::create_dir_all(&cache)?;
        // Filled elsewhere first, so that a half-filled folder is never used.
        let unfinished = tempfile::tempdir_in(&cache)?;
        let path = unfinished.path().to_owned();
        process::blocking(move || fill(&definition, &path)).await?;
        Ok::<_, anyhow::Error>(unfinished.keep())
    })
    .await?;
    match std::fs::rename(&unfinished, &folder) {
        // Another test was faster.
        Err(_) if folder.exists() => Ok(std::fs::remove_dir_all(&unfinished)?),
        result => result.with_context(|| format!("keeping {what}")),
    }?;
    Ok(folder)
}

/// The desktop image for this machine as an OCI archive. Built if its definition has changed.
pub async fn desktop_image() -> Result<PathBuf> {
    desktop_image_for(Architecture::of_this_machine()?).await
}

/// The desktop image for one architecture. For another than this machine's, the kernel has to hand its programs to QEMU.
pub async fn desktop_image_for(architecture: Architecture) -> Result<PathBuf> {
    let definition = workspace().join("images/desktop");
    let cache = vdi_cluster::cache_directory()?.join("images");
    let archive = cache.join(format!("desktop-{architecture}-{:016x}.oci.tar", fingerprint(&definition)?));
    if archive.exists() {
        return Ok(archive);
    }
    let build_packages = std::fs::read_to_string(definition.join("build-packages"))?;
    let build_packages: Vec<&str> =
        build_packages.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    packages::ensure(&build_packages).await?;
    let (foreign, time) = match architecture == Architecture::of_this_machine()? {
        true => (&[][..], "2 minutes"),
        false => (EMULATOR, "6 minutes"),
    };
    packages::ensure(foreign).await?;
    std::fs::create_dir_all(&cache)?;
    let log = cache.join(format!("desktop-{architecture}.log"));
    let title = format!("Building the desktop image for {architecture} (first time only, about {time})");
    progress::step(&title, async {
        let partial = archive.with_extension(format!("{}.partial", std::process::id()));
        let mut build = tokio::process::Command::new("sh");
        let output = build.arg(definition.join("build.sh")).arg(&partial).arg(architecture.name()).output().await?;
        std::fs::write(&log, [&output.stdout[..], &output.stderr].concat())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default();
            bail!("images/desktop/build.sh failed ({}): {last}\nIts output is in {}", output.status, log.display());
        }
        std::fs::rename(&partial, &archive)?;
        Ok(())
    })
    .await?;
    Ok(archive)
}

/// A hash of the names and contents of all files below a folder.
fn fingerprint(folder: &Path) -> Result<u64> {
    let mut files = files_below(folder)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.strip_prefix(folder)?.hash(&mut hasher);
        std::fs::read(&file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(files_below(&path)?),
            false => files.push(path),
        }
    }
    Ok(files)
}
