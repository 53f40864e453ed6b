//! What has to be on this machine before anything runs. Each step does nothing when it has been done.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use vdi_cluster::{Program, packages, progress};
use vdi_release::command;

use crate::{process, workspace};

/// The standard library for the policy's target, by rustup.
pub fn wasm_target() -> Result<()> {
    const TARGET: &str = "wasm32-wasip1";
    let sysroot = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let library = sysroot.context("rustc can't be run")?.stdout;
    if Path::new(String::from_utf8_lossy(&library).trim()).exists() {
        return Ok(());
    }
    eprintln!("Adding the Rust target {TARGET} ...");
    let status = Command::new("rustup").args(["target", "add", TARGET]).status();
    let status =
        status.with_context(|| format!("rustup can't be run; install Rust's target {TARGET} some other way"))?;
    ensure!(status.success(), "`rustup target add {TARGET}` failed: {status}");
    Ok(())
}

/// Why there can be no real node on this machine; `None` when there can.
pub fn why_no_real_node() -> Option<&'static str> {
    if !cfg!(target_os = "linux") {
        return Some("a real node needs Linux");
    }
    (!vdi_cluster::is_root()).then_some("a real node needs root")
}

/// Everything that the tests need, so that the time it takes is not some test's.
pub async fn everything() -> Result<()> {
    for program in Program::ALL {
        program.ensure().await?;
    }
    oidc_provider().await?;
    actionlint().await?;
    match why_no_real_node() {
        Some(why) => {
            eprintln!(
                "No desktop image, no browser, no registry, no nginx, no false clock, no names and no Selkies: {why}"
            )
        }
        None => {
            browser().await?;
            registry().await?;
            nginx().await?;
            false_clock().await?;
            names().await?;
            selkies().await?;
            desktop_image().await?;
        }
    }
    Ok(())
}

/// Chromium and its driver.
pub async fn browser() -> Result<()> {
    Ok(packages::ensure(&["chromium", "chromium-driver"]).await?)
}

/// An OCI registry, `/usr/bin/docker-registry`.
pub async fn registry() -> Result<()> {
    Ok(packages::ensure(&["docker-registry"]).await?)
}

/// nginx, `/usr/sbin/nginx`.
pub async fn nginx() -> Result<()> {
    Ok(packages::ensure(&["nginx"]).await?)
}

/// Node.js: the one that is there, or Debian's.
pub fn node() -> Result<PathBuf> {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&directories).map(|directory| directory.join("node"));
    found.find(|path| path.exists()).context("node is not installed")
}

/// A folder with the OpenID provider of tests/oidc-provider, and what it needs from npm.
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

/// A folder with Selkies, as `bin/python3 -m selkies`, and what it needs from PyPI: 270 MB. And the sound server that it listens to.
pub async fn selkies() -> Result<PathBuf> {
    packages::ensure(&["python3-venv", "pulseaudio"]).await?;
    install("selkies", "Selkies from PyPI", workspace().join("tests/selkies"), |definition, folder| {
        // Debian's, which the packages of requirements.txt are for.
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

/// The linter of GitHub's workflows.
pub async fn actionlint() -> Result<PathBuf> {
    let definition = workspace().join("tests/actionlint");
    let folder = install("actionlint", "actionlint from its Go module", definition, |definition, folder| {
        let mut go = Command::new("go");
        go.args(["build", "-trimpath", "-o"]).arg(folder).arg("github.com/rhysd/actionlint/cmd/actionlint");
        command::run(go.env("CGO_ENABLED", "0").current_dir(definition))
    });
    Ok(folder.await?.join("actionlint"))
}

/// A cargo subcommand such as `cargo-deny`, installed in the cache. A debug build is ready three times as soon, and fast enough.
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

/// A folder in the cache that is filled once for a definition.
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
        // Elsewhere first, so that what is half done is never taken for done.
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

/// libfaketime, for a clock that jumps.
pub async fn false_clock() -> Result<()> {
    Ok(packages::ensure(&["faketime"]).await?)
}

/// nss_wrapper, for names that lead elsewhere.
pub async fn names() -> Result<()> {
    Ok(packages::ensure(&["libnss-wrapper"]).await?)
}

/// The desktop image as an OCI archive, built when its definition has changed since.
pub async fn desktop_image() -> Result<PathBuf> {
    let definition = workspace().join("images/desktop");
    let cache = vdi_cluster::cache_directory()?.join("images");
    let archive = cache.join(format!("desktop-{:016x}.oci.tar", fingerprint(&definition)?));
    if archive.exists() {
        return Ok(archive);
    }
    let build_packages = std::fs::read_to_string(definition.join("build-packages"))?;
    let build_packages: Vec<&str> =
        build_packages.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    packages::ensure(&build_packages).await?;
    std::fs::create_dir_all(&cache)?;
    let log = cache.join("desktop.log");
    progress::step("Building the desktop image (first time only, about 2 minutes)", async {
        let partial = archive.with_extension(format!("{}.partial", std::process::id()));
        let output = tokio::process::Command::new("sh").arg(definition.join("build.sh")).arg(&partial).output().await?;
        std::fs::write(&log, [output.stdout, output.stderr].concat())?;
        if !output.status.success() {
            bail!("images/desktop/build.sh failed ({}); its output is in {}", output.status, log.display());
        }
        std::fs::rename(&partial, &archive)?;
        Ok(())
    })
    .await?;
    Ok(archive)
}

/// The same for the same files with the same content.
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
