//! Images of stand-ins for the programs: enough to see how images are made and published, without the time to build the programs.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use flate2::Compression;
use vdi_release::image::{Architecture, Image, Origin, Program, pack};

/// An ELF header without program headers, and something that compresses: enough to pass for a static program.
pub fn program(architecture: Architecture) -> Vec<u8> {
    let mut program = vec![0; 64];
    program[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    program[18] = match architecture {
        Architecture::Amd64 => 62,
        Architecture::Arm64 => 183,
    };
    program.extend(architecture.name().repeat(10_000).bytes());
    program
}

/// Stand-ins for both architectures, in files of any mode and age.
pub fn programs(folder: &Path, mode: u32, age: Duration) -> Result<BTreeMap<Architecture, PathBuf>> {
    fs::create_dir_all(folder)?;
    let write = |architecture: Architecture| {
        let path = folder.join(architecture.name());
        fs::write(&path, program(architecture))?;
        fs::File::options().write(true).open(&path)?.set_modified(SystemTime::now() - age)?;
        fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
        Ok((architecture, path))
    };
    Architecture::ALL.into_iter().map(write).collect()
}

pub fn origin() -> Origin {
    Origin {
        revision: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        created: "2026-01-02T03:04:05Z".to_owned(),
    }
}

/// The image of a program's stand-in, in `folder`.
pub fn image(program: Program, folder: &Path) -> Result<Image> {
    let packed = pack(program, &programs(folder, 0o755, Duration::ZERO)?, &origin(), Compression::best())?;
    let archive = folder.join("image.oci.tar");
    fs::write(&archive, packed.archive)?;
    let image = Image::open(program.name(), archive)?;
    ensure!(image.digest == packed.digest, "{image:?} is not {}", packed.digest);
    Ok(image)
}
