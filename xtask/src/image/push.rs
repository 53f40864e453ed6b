use anyhow::Result;
use vdi_release::{docker_config, image};

use super::which::Which;

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    which: Which,

    /// Where to push to, such as ghcr.io/vdiwarden; uses the credentials of `docker login`
    #[arg(long)]
    registry: String,

    /// The tag
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
}

pub async fn run(Options { which, registry, tag }: &Options) -> Result<()> {
    for image in which.build().await? {
        let reference = format!("{}/{}:{tag}", registry.trim_end_matches('/'), image.name);
        println!("{}", image::push(&image, &reference, &docker_config()).await?);
    }
    Ok(())
}
