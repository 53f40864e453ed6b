//! Building what is released, and publishing it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use vdi_release::{
    image::{Architecture, Origin, Profile, Program},
    policy,
    publish::{self, Destination, Published, Release, Signer},
    workspace,
};
use vdi_tests::{desktop_image, images, process, setup};

/// From the sources in this workspace.
pub async fn build(notes: String) -> Result<Release> {
    setup::wasm_target()?;
    let mut built = images::build(Program::ALL.into(), Profile::Release, Architecture::ALL.into()).await?;
    built.push(desktop_image::build(Architecture::ALL.into()).await?);
    let policy = process::blocking(policy::build).await?;
    Ok(Release {
        sources: workspace().to_owned(),
        origin: Origin::of(workspace())?,
        images: built,
        policy: std::fs::read(&policy).with_context(|| format!("can't read {}", policy.display()))?,
        notes,
    })
}

/// With the programs that it takes, which are built first.
pub async fn publish(
    release: &Release,
    registry: &str,
    docker_config: PathBuf,
    folder: PathBuf,
    signer: Option<&Signer>,
) -> Result<Vec<Published>> {
    let destination = Destination {
        registry: registry.to_owned(),
        docker_config,
        folder,
        signer: signer.cloned(),
        cosign: setup::cosign().await?,
        syft: setup::syft().await?,
    };
    publish::publish(release, &destination).await
}
