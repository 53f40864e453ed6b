use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use vdi_release::{policy::metadata, workspace};
use vdi_tests::policy::{Limits, PolicyHost};

#[derive(clap::Args)]
pub struct Options {
    /// A wasm module that speaks waPC
    module: PathBuf,

    /// The metadata to write into it [default: the workspace's metadata.yml]
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,

    /// Where to write the annotated module [default: over the module]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(Options { module, metadata, output }: &Options) -> Result<()> {
    let metadata = metadata.clone().unwrap_or_else(|| workspace().join("metadata.yml"));
    let output = output.as_ref().unwrap_or(module);
    let yaml = fs::read_to_string(&metadata).with_context(|| format!("can't read {}", metadata.display()))?;
    let metadata = metadata::from_yaml(&yaml).with_context(|| metadata.display().to_string())?;
    let annotated = metadata::annotate(&read(module)?, &metadata).with_context(|| module.display().to_string())?;
    check(&annotated).with_context(|| format!("{} is not a policy that can be annotated", module.display()))?;
    fs::write(output, annotated).with_context(|| format!("can't write {}", output.display()))?;
    println!("{}", output.display());
    Ok(())
}

pub fn read(module: &Path) -> Result<Vec<u8>> {
    fs::read(module).with_context(|| format!("can't read {}", module.display()))
}

/// The metadata declares version 1 of the protocol, so the module must speak it.
fn check(module: &[u8]) -> Result<()> {
    let version = PolicyHost::new(module, Limits::default())?.call_raw("protocol_version", b"null", None)?;
    ensure!(version == br#""v1""#, "it speaks protocol {}, not v1", String::from_utf8_lossy(&version));
    Ok(())
}
