//! Whether a program would start in an image that has nothing else.
//! <https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html>

use anyhow::{Context, Result, bail, ensure};

use super::Architecture;

/// The magic number, 64 bits, little-endian.
const HEADER: &[u8] = b"\x7fELF\x02\x01";
/// The type of the program header that names a dynamic loader.
const PT_INTERP: u32 = 3;

/// Fails unless `program` is a static executable for `architecture`.
pub fn ensure_static(program: &[u8], architecture: Architecture) -> Result<()> {
    ensure!(program.starts_with(HEADER), "it is not a 64-bit ELF program");
    let truncated = "it is a truncated ELF program";
    let machine = u16::from_le_bytes(at(program, 18).context(truncated)?);
    ensure!(
        machine == architecture.elf_machine(),
        "it is for another machine (ELF's number {machine}) than {architecture}"
    );
    let start = usize::try_from(u64::from_le_bytes(at(program, 32).context(truncated)?))?;
    let size = usize::from(u16::from_le_bytes(at(program, 54).context(truncated)?));
    let count = usize::from(u16::from_le_bytes(at(program, 56).context(truncated)?));
    for index in 0..count {
        let header = start.checked_add(index * size).and_then(|offset| at(program, offset)).context(truncated)?;
        if u32::from_le_bytes(header) == PT_INTERP {
            bail!(
                "it needs a dynamic loader, which the image doesn't have: build it for {}",
                architecture.rust_target()
            );
        }
    }
    Ok(())
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_start_in_the_image_is_refused() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let here = Architecture::of_this_machine().unwrap();
        let why = |program: &[u8], architecture| ensure_static(program, architecture).unwrap_err().to_string();
        assert!(why(&own, here).contains("dynamic loader"), "{}", why(&own, here));
        for other in Architecture::ALL.into_iter().filter(|other| *other != here) {
            assert!(why(&own, other).contains("another machine"), "{}", why(&own, other));
        }
        assert!(why(b"#!/bin/sh", here).contains("not a 64-bit ELF program"));
        for length in [6, 20, 57, 64] {
            assert!(why(&own[..length], here).contains("truncated"), "{length}");
        }
    }
}
