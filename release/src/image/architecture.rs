use std::fmt;

use anyhow::{Result, bail};

/// What a node's processor may be. GPU nodes with NVIDIA's Grace are arm64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    Amd64,
    Arm64,
}

impl Architecture {
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// The architecture that this process runs on.
    ///
    /// # Errors
    /// When there are no images for it.
    pub fn of_this_machine() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("there are images for amd64 and arm64, not for {other}"),
        }
    }

    /// As OCI and Go call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The target that Rust builds for it: with musl, so that a program needs no files besides its own.
    pub const fn rust_target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The Debian packages that compile C for it.
    pub const fn c_compiler_packages(self) -> &'static [&'static str] {
        match self {
            Self::Amd64 => &["musl-tools"],
            Self::Arm64 => &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        }
    }

    /// For the few C files of ring and mimalloc. Debian has no musl for foreign architectures; what they take from glibc's headers is
    /// the same in musl, whose ABI follows glibc's.
    pub(super) const fn c_compiler(self) -> &'static str {
        match self {
            Self::Amd64 => "musl-gcc",
            Self::Arm64 => "aarch64-linux-gnu-gcc",
        }
    }

    /// The ELF header's `e_machine`.
    pub(super) const fn elf_machine(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
