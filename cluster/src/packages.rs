//! Debian packages.

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::error::{Error, IoContext};
use crate::privileges::is_root;
use crate::progress;

/// Installs the packages that are missing.
///
/// # Errors
/// When packages are missing and this is not a Debian system or not run by root, or when apt-get fails. An installed package is
/// never removed in favor of another.
pub async fn ensure(packages: &[&str]) -> Result<(), Error> {
    let mut missing = Vec::new();
    for package in packages {
        if !is_installed(package).await? {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let title = format!("Installing {} (first time only)", missing.join(", "));
    if !is_root() {
        return Err(Error::NotRoot { what: title });
    }
    progress::long_step(&title, async {
        apt_get(&["update"]).await?;
        apt_get(&[&["install", "--yes", "--no-install-recommends", "--no-remove"], &missing[..]].concat()).await
    })
    .await
}

async fn is_installed(package: &str) -> Result<bool, Error> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    match query.output().await {
        Ok(Output { stdout, .. }) => Ok(stdout == b"installed"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NotDebian { missing: package.to_owned() })
        }
        Err(error) => Err(error).context("running", Path::new("dpkg-query")),
    }
}

async fn apt_get(arguments: &[&str]) -> Result<(), Error> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    crate::command::run(command).await.map(drop)
}
