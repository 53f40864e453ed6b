//! Kubewarden's metadata in a module: `metadata.yml` as JSON, in a [custom section].
//!
//! [custom section]: https://webassembly.github.io/spec/core/binary/modules.html#custom-section

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

const SECTION: &str = "io.kubewarden.metadata";
/// The magic number, and version 1 of the binary format.
const HEADER: &[u8; 8] = b"\0asm\x01\0\0\0";

/// Parses `metadata.yml`, and adds what `kwctl annotate` adds: the version of the protocol that the module speaks.
///
/// # Errors
/// When it isn't YAML, or not a mapping.
pub fn from_yaml(yaml: &str) -> Result<Value> {
    let mut metadata: Value = serde_saphyr::from_str(yaml).context("the metadata is not YAML")?;
    ensure!(metadata.is_object(), "the metadata is not a mapping");
    metadata["protocolVersion"] = "v1".into();
    Ok(metadata)
}

/// The module with `metadata` in place of any that it had.
///
/// # Errors
/// When `module` isn't a wasm module.
pub fn annotate(module: &[u8], metadata: &Value) -> Result<Vec<u8>> {
    let mut annotated = HEADER.to_vec();
    for section in sections(module)? {
        if section.custom(SECTION).is_none() {
            annotated.extend(section.whole);
        }
    }
    let json = serde_json::to_vec(metadata)?;
    let content = [&leb128(SECTION.len())[..], SECTION.as_bytes(), &json].concat();
    annotated.push(0);
    annotated.extend(leb128(content.len()));
    annotated.extend(content);
    Ok(annotated)
}

/// The metadata in a module.
///
/// # Errors
/// When `module` isn't a wasm module, or has no metadata; a policy server refuses it too.
pub fn read(module: &[u8]) -> Result<Value> {
    let sections = sections(module)?;
    let json = sections.iter().find_map(|section| section.custom(SECTION)).context("the module has no metadata")?;
    serde_json::from_slice(json).context("the module's metadata is not JSON")
}

struct Section<'a> {
    /// With its id and length.
    whole: &'a [u8],
    content: &'a [u8],
}

impl<'a> Section<'a> {
    /// The content, when this is the custom section `name`.
    fn custom(&self, name: &str) -> Option<&'a [u8]> {
        if self.whole.first() != Some(&0) {
            return None;
        }
        let mut rest = self.content;
        let length = read_leb128(&mut rest)?;
        let (found, json) = rest.split_at_checked(length)?;
        (found == name.as_bytes()).then_some(json)
    }
}

fn sections(module: &[u8]) -> Result<Vec<Section<'_>>> {
    let Some(mut rest) = module.strip_prefix(HEADER) else { bail!("this is not a wasm module") };
    let mut sections = Vec::new();
    while !rest.is_empty() {
        let mut after_id = &rest[1..];
        let content = read_leb128(&mut after_id).and_then(|length| after_id.get(..length));
        let content = content.context("the wasm module is truncated")?;
        let whole = &rest[..rest.len() - after_id.len() + content.len()];
        sections.push(Section { whole, content });
        rest = &rest[whole.len()..];
    }
    Ok(sections)
}

/// An unsigned LEB128 of up to 32 bits. <https://webassembly.github.io/spec/core/binary/values.html#integers>
fn read_leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in (0..32).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotating_twice_leaves_one_section_and_the_rest_as_it_was() {
        let code = [HEADER, &[1, 1, 0][..], &[0, 4, 1, b'x', 7, 7]].concat();
        let once = annotate(&code, &json!({"mutating": false, "padding": "x".repeat(300)})).unwrap();
        let twice = annotate(&once, &json!({"mutating": true})).unwrap();
        assert!(twice.starts_with(&code));
        assert_eq!(read(&twice).unwrap(), json!({"mutating": true}));
        assert_eq!(sections(&twice).unwrap().len(), 3);
    }

    #[test]
    fn anything_but_a_module_is_refused() {
        for bytes in [
            &b""[..],
            b"#!/bin/sh",
            b"\0asm\x01\0\0\0\x01",
            b"\0asm\x01\0\0\0\x01\x05\0",
            b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff",
        ] {
            assert!(annotate(bytes, &json!({})).is_err(), "{bytes:?}");
        }
        assert!(read(HEADER).is_err());
    }

    #[test]
    fn the_protocol_version_is_added() {
        assert_eq!(from_yaml("mutating: true").unwrap(), json!({"mutating": true, "protocolVersion": "v1"}));
        assert!(from_yaml("[]").is_err() && from_yaml("a: [").is_err());
    }
}
