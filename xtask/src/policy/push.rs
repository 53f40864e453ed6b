use anyhow::Result;
use vdi_release::{docker_config, policy::artifact};

use super::{annotate, build};

#[derive(clap::Args)]
pub struct Options {
    /// The reference to push to, such as ghcr.io/vdiwarden/policies/vdisession:v0.1.0; uses the credentials of `docker login`
    reference: String,
}

pub async fn run(Options { reference }: &Options) -> Result<()> {
    let module = annotate::read(&build::module()?)?;
    println!("{}", artifact::push(&module, reference, &docker_config()).await?);
    Ok(())
}
