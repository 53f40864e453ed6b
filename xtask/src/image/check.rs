//! Whether the images can be reproduced.

use anyhow::{Result, ensure};
use vdi_release::{copy_sources, image::Sources};
use vdi_tests::process;

use super::which::Which;

/// Builds the programs' images here and from a copy, from nothing, and compares them.
pub async fn run(which: &Which) -> Result<()> {
    let (programs, profile, architectures) = (which.programs(), which.profile(), which.architectures()?);
    ensure!(!programs.is_empty(), "name controller or gateway: the desktop depends on Debian's packages of the day");
    let elsewhere = tempfile::tempdir()?;
    let here = Sources::here()?;
    let copied = Sources {
        folder: elsewhere.path().join("a folder with/a longer path"),
        target: elsewhere.path().join("another target"),
        origin: here.origin.clone(),
    };
    eprintln!("Building a copy in {}, from nothing ...", copied.folder.display());
    let (images, copies) = process::blocking(move || {
        // Again, as others may have committed since: it takes seconds.
        let images = here.build(&programs, profile, &architectures)?;
        copy_sources(&copied.folder)?;
        Ok((images, copied.build(&programs, profile, &architectures)?))
    })
    .await?;
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
