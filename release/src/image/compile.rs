//! Static programs, built with cargo.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Architecture, Program};
use crate::{command, reproducible};

/// How much time the compiler takes to make a program fast. The names are those of the profiles in Cargo.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What users get.
    Release,
    /// Built in a fraction of the time.
    Demo,
}

impl Profile {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Demo => "demo",
        }
    }
}

/// Builds `programs` for all `architectures` at once, so that cargo builds what runs at build time only once.
pub fn compile(
    programs: &[Program],
    profile: Profile,
    architectures: &[Architecture],
    workspace: &Path,
    target: &Path,
) -> Result<()> {
    let mut cargo = command::cargo_in(workspace);
    cargo.args(["build", "--locked", "--profile", profile.name()]);
    for program in programs {
        cargo.args(["--package", program.package(), "--bin", program.package()]);
    }
    // Static is musl's default; a default may change.
    let mut flags = reproducible::rust_flags(workspace, target)?;
    flags.push("\x1f-Ctarget-feature=+crt-static");
    cargo.env("CARGO_TARGET_DIR", target).env("CARGO_ENCODED_RUSTFLAGS", flags);
    // What C's __DATE__ and __TIME__ become.
    cargo.env("SOURCE_DATE_EPOCH", "0");
    for architecture in architectures {
        let triple = architecture.rust_target();
        let name = triple.replace('-', "_");
        cargo.args(["--target", triple]);
        cargo.env(format!("CC_{name}"), architecture.c_compiler());
        // Instead of CFLAGS, which somebody may have set for something else.
        cargo.env(format!("CFLAGS_{name}"), "");
        // Comes with Rust, like musl itself.
        cargo.env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), "rust-lld");
    }
    command::run(&mut cargo).context("can't build the programs")
}

/// Where [`compile`] puts a program.
pub fn path(program: Program, profile: Profile, architecture: Architecture, target: &Path) -> PathBuf {
    target.join(architecture.rust_target()).join(profile.name()).join(program.package())
}
