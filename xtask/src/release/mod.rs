//! `cargo xtask release`: publishes everything that has a version.

mod check;
mod publish;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use vdi_release::{
    VERSION, docker_config,
    publish::{Published, Signer, notes},
    target, workspace,
};

#[derive(clap::Args)]
pub struct Options {
    /// Where to publish, such as ghcr.io/vdiwarden; uses the credentials of `docker login`
    #[arg(long, required_unless_present = "check")]
    registry: Option<String>,

    /// Who signs: a private key of cosign's (a file, or the URI of a key management service), or `keyless` for the identity of the
    /// workflow that runs this
    #[arg(long, value_name = "KEY")]
    sign: Option<String>,

    /// The private key's password
    #[arg(long, env = "COSIGN_PASSWORD", default_value = "", hide_env_values = true, hide_default_value = true)]
    password: String,

    /// Where to write the files of the release [default: target/releases/VERSION]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,

    /// Publish to two registries on this machine, the second time from a copy of the sources somewhere else, and compare. Takes an hour
    #[arg(long, conflicts_with_all = ["registry", "output"])]
    check: bool,
}

pub async fn run(Options { registry, sign, password, output, check }: &Options) -> Result<()> {
    let signer = sign.as_deref().map(|sign| match sign {
        "keyless" => Signer::Keyless,
        key => Signer::Key { key: key.to_owned(), password: password.clone() },
    });
    let Some(registry) = registry.as_ref().filter(|_| !check) else {
        return check::run(signer.as_ref()).await;
    };
    // Before the half hour that the build takes.
    let changelog = std::fs::read_to_string(workspace().join("CHANGELOG.md")).context("can't read CHANGELOG.md")?;
    let notes = notes(&changelog, VERSION)?;
    let release = publish::build(notes).await?;
    let revision = release.origin.revision.as_deref().unwrap_or("-dirty");
    ensure!(!revision.ends_with("-dirty"), "commit your changes first: a release is made from a commit");
    let folder = output.clone().unwrap_or_else(|| target().join("releases").join(VERSION));
    let published = publish::publish(&release, registry, docker_config(), folder.clone(), signer.as_ref()).await?;
    for Published { tagged, reference, .. } in &published {
        println!("{tagged}\n  {reference}");
    }
    println!("{}", folder.display());
    if signer.is_none() {
        eprintln!("Nothing is signed. `--sign KEY` signs with a key, as made by `cosign generate-key-pair`");
    }
    Ok(())
}
