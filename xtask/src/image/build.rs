use anyhow::Result;

use super::{check, which::Which};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    which: Which,

    /// Build controller and gateway once more from a copy of the sources somewhere else, and fail if that gives other images
    #[arg(long)]
    check: bool,
}

pub async fn run(Options { which, check }: &Options) -> Result<()> {
    let images = which.build().await?;
    for image in &images {
        println!("{}\n  {}", image.archive.display(), image.digest);
        for (architecture, bytes) in image.sizes()? {
            println!("  {:.1} MB compressed{}", bytes as f64 / 1e6, with_space(&architecture));
        }
    }
    if *check { check::run(which).await } else { Ok(()) }
}

fn with_space(architecture: &str) -> String {
    if architecture.is_empty() { String::new() } else { format!(", {architecture}") }
}
