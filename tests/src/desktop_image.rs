//! The desktop's image, as it is released.

use anyhow::{Context, Result};
use vdi_release::{
    image::{self, Architecture, Image, Origin},
    target, workspace,
};

use crate::{process, setup};

/// The desktop's image for several architectures, labelled with the commit.
///
/// # Errors
/// When one can't be built, or git can't be asked.
pub async fn build(architectures: Vec<Architecture>) -> Result<Image> {
    let mut images = Vec::new();
    for architecture in architectures {
        images.push((architecture, Image::open("desktop", setup::desktop_image_for(architecture).await?)?));
    }
    process::blocking(move || {
        let origin = Origin::of(workspace())?;
        let packed = image::index("desktop", "A Linux desktop in the browser", &images, &origin)?;
        let folder = target().join("images");
        std::fs::create_dir_all(&folder)?;
        let archive = folder.join("desktop.oci.tar");
        std::fs::write(&archive, packed.archive).with_context(|| format!("can't write {}", archive.display()))?;
        Image::open("desktop", archive)
    })
    .await
}
