//! The images of the controller and the gateway, built from this tree.

use anyhow::Result;
use vdi_cluster::{packages, progress};
use vdi_release::{
    image::{Architecture, Image, Profile, Program, Sources},
    rust_target,
};

use crate::process;

/// Builds what an installation on this machine needs besides the desktop, as fast as that goes.
///
/// # Errors
/// As [`build`].
pub async fn for_this_machine() -> Result<Vec<Image>> {
    build(Program::ALL.into(), Profile::Demo, vec![Architecture::of_this_machine()?]).await
}

/// Installs what is missing to build the programs' images, and builds them. Takes seconds when the sources haven't changed.
///
/// # Errors
/// When a compiler can't be installed, or the programs can't be built.
pub async fn build(programs: Vec<Program>, profile: Profile, architectures: Vec<Architecture>) -> Result<Vec<Image>> {
    let compilers: Vec<_> = architectures.iter().map(|architecture| architecture.c_compiler_packages()).collect();
    packages::ensure(&compilers.concat()).await?;
    let work = process::blocking(move || {
        architectures.iter().try_for_each(|architecture| rust_target::ensure(architecture.rust_target()))?;
        Sources::here()?.build(&programs, profile, &architectures)
    });
    let names = "Building the images of the controller and the gateway";
    match profile {
        Profile::Demo => progress::long_step(&format!("{names} (about 5 minutes the first time)"), work).await,
        Profile::Release => progress::long_step(&format!("{names} (about 30 minutes the first time)"), work).await,
    }
}
