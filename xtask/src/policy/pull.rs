use std::path::PathBuf;

use anyhow::{Context, Result};
use vdi_release::{digest, docker_config, policy::artifact};

#[derive(clap::Args)]
pub struct Options {
    /// The reference to pull, by tag or by digest; uses the credentials of `docker login`
    reference: String,

    /// Where to write the module
    #[arg(long, short, value_name = "FILE", default_value = "policy.wasm")]
    output: PathBuf,
}

pub async fn run(Options { reference, output }: &Options) -> Result<()> {
    let pulled = artifact::pull(reference, &docker_config()).await?;
    std::fs::write(output, &pulled.module).with_context(|| format!("can't write {}", output.display()))?;
    println!("{}\n{}\n{}", output.display(), pulled.reference, digest(&pulled.module));
    Ok(())
}
