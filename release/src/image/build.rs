use std::path::PathBuf;

use anyhow::{Context, Result};
use flate2::Compression;

use super::{Architecture, Image, Origin, Profile, Program, compile, pack};
use crate::{
    files::write_atomically,
    workspace::{target, workspace},
};

/// What images are built from, and where.
pub struct Sources {
    /// A folder with the workspace.
    pub folder: PathBuf,
    /// Cargo's target folder, which also takes the archives.
    pub target: PathBuf,
    /// What the images say that they are made from.
    pub origin: Origin,
}

impl Sources {
    /// The workspace that this crate was built in.
    ///
    /// # Errors
    /// As [`Origin::of`].
    pub fn here() -> Result<Self> {
        let folder = workspace().to_owned();
        Ok(Self { origin: Origin::of(&folder)?, target: target(), folder })
    }

    /// Builds the images of `programs`, each with all `architectures`, as `images/PROFILE/NAME.oci.tar` in the target folder. The
    /// same sources and compilers give the same bytes, wherever the folders are.
    ///
    /// # Errors
    /// When cargo can't build them, often for want of [a C compiler](Architecture::c_compiler_packages) or
    /// [a target](Architecture::rust_target).
    pub fn build(&self, programs: &[Program], profile: Profile, architectures: &[Architecture]) -> Result<Vec<Image>> {
        compile::compile(programs, profile, architectures, &self.folder, &self.target)?;
        programs.iter().map(|program| self.pack(*program, profile, architectures)).collect()
    }

    fn pack(&self, program: Program, profile: Profile, architectures: &[Architecture]) -> Result<Image> {
        let path = |architecture| compile::path(program, profile, architecture, &self.target);
        let binaries = architectures.iter().map(|architecture| (*architecture, path(*architecture))).collect();
        // For a registry on this machine, the time to compress counts more than the size.
        let compression = match profile {
            Profile::Release => Compression::best(),
            Profile::Demo => Compression::fast(),
        };
        let packed = pack::pack(program, &binaries, &self.origin, compression)?;
        let name = program.name();
        let archive = self.target.join("images").join(profile.name()).join(format!("{name}.oci.tar"));
        write_atomically(&archive, &packed.archive).with_context(|| format!("can't write {}", archive.display()))?;
        Ok(Image { name: name.to_owned(), archive, digest: packed.digest })
    }
}
