//! Whether the images can be reproduced.

use anyhow::{Result, ensure};
use vdi_release::{
    copy_sources,
    image::{Image, Origin, Sources},
    workspace,
};
use vdi_tests::process;

use super::which::Which;

/// Builds the programs' images from a copy, from nothing, and compares them with `images`.
pub async fn run(which: &Which, images: &[Image]) -> Result<()> {
    let (programs, profile, architectures) = (which.programs(), which.profile(), which.architectures()?);
    ensure!(!programs.is_empty(), "name controller or gateway: the desktop depends on Debian's packages of the day");
    let elsewhere = tempfile::tempdir()?;
    let sources = Sources {
        folder: elsewhere.path().join("a folder with/a longer path"),
        target: elsewhere.path().join("another target"),
        origin: Origin::of(workspace())?,
    };
    eprintln!("Building a copy in {}, from nothing ...", sources.folder.display());
    copy_sources(&sources.folder)?;
    let copies = process::blocking(move || sources.build(&programs, profile, &architectures)).await?;
    for copy in copies {
        let image = images.iter().find(|image| image.name == copy.name);
        let digest = image.map(|image| image.digest.as_str()).unwrap_or_default();
        ensure!(
            digest == copy.digest,
            "{} is not reproducible: {digest} here, {} from a copy of the sources in another folder",
            copy.name,
            copy.digest
        );
        println!("{} is the same from a copy of the sources in another folder", copy.name);
    }
    Ok(())
}
