//! Software bills of materials: what an artifact is made of, in SPDX, as [syft](https://github.com/anchore/syft) finds it.

use std::{collections::BTreeSet, ffi::OsString, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{command, digest::digest, image::Origin, workspace::VERSION};

/// Writes documents. The same contents give the same bytes.
pub struct Documents<'a> {
    pub syft: &'a Path,
    pub sources: &'a Path,
    pub origin: &'a Origin,
}

impl Documents<'_> {
    /// The crates that are linked into `package` for `target`. Syft finds none in a static program, so it reads the lines of Cargo.lock
    /// about them.
    pub fn program(&self, package: &str, target: &str, name: &str) -> Result<Vec<u8>> {
        let crates = linked_crates(self.sources, package, target)?;
        let lock = fs::read_to_string(self.sources.join("Cargo.lock")).context("can't read Cargo.lock")?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("Cargo.lock"), only(&lock, &crates)?)?;
        self.folder(folder.path(), name)
    }

    /// What syft finds in a folder.
    pub fn folder(&self, folder: &Path, name: &str) -> Result<Vec<u8>> {
        self.document(&prefixed("dir:", folder), &[], name)
    }

    /// The packages in an image in an OCI archive.
    pub fn image(&self, archive: &Path, architecture: &str, name: &str) -> Result<Vec<u8>> {
        self.document(&prefixed("oci-archive:", archive), &["--platform", architecture], name)
    }

    fn document(&self, source: &OsString, arguments: &[&str], name: &str) -> Result<Vec<u8>> {
        let mut syft = Command::new(self.syft);
        syft.arg("scan").arg(source).args(arguments).args(["--quiet", "--output", "spdx-json"]);
        syft.args(["--source-name", name, "--source-version", VERSION]).env("SYFT_CHECK_FOR_APP_UPDATE", "false");
        let output = syft.output().with_context(|| format!("can't run {}", self.syft.display()))?;
        ensure!(output.status.success(), "syft can't read {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
        reproducible(serde_json::from_slice(&output.stdout).context("syft's output is no JSON")?, name, self.origin)
    }
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut source = OsString::from(prefix);
    source.push(path);
    source
}

/// The document with the sources' time instead of today's, and a namespace that follows from its content instead of chance.
fn reproducible(mut document: Value, name: &str, origin: &Origin) -> Result<Vec<u8>> {
    document["creationInfo"]["created"] = origin.created.as_str().into();
    document["documentNamespace"] = Value::Null;
    let content = digest(&serde_json::to_vec(&document)?).replace(':', "-");
    let repository = env!("CARGO_PKG_REPOSITORY");
    document["documentNamespace"] = format!("{repository}/sbom/{name}/{VERSION}/{content}").into();
    Ok(serde_json::to_vec_pretty(&document)?)
}

/// Name and version of each crate that ends up in the program: not what only builds it.
fn linked_crates(sources: &Path, package: &str, target: &str) -> Result<BTreeSet<(String, String)>> {
    let mut tree = command::cargo_in(sources);
    tree.args(["tree", "--locked", "--package", package, "--target", target, "--edges", "normal,no-proc-macro"]);
    let output = tree.args(["--prefix", "none", "--format", "{p}"]).output().context("can't run cargo")?;
    ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let lines = String::from_utf8(output.stdout)?;
    let crates = lines.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    });
    Ok(crates.collect())
}

/// A Cargo.lock with only these crates.
fn only(lock: &str, crates: &BTreeSet<(String, String)>) -> Result<String> {
    let (head, packages) = lock.split_once("[[package]]").context("Cargo.lock has no packages")?;
    let mut kept = head.to_owned();
    let mut found = BTreeSet::new();
    for package in packages.split("[[package]]") {
        let value = |key: &str| {
            let line =
                package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'));
            line.unwrap_or_default().to_owned()
        };
        let id = (value("name"), value("version"));
        if crates.contains(&id) {
            kept.push_str("[[package]]");
            kept.push_str(package);
            found.insert(id);
        }
    }
    ensure!(found == *crates, "Cargo.lock has no {:?}", crates.difference(&found).collect::<Vec<_>>());
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_keeps_the_crates_that_are_linked_and_no_other_version_of_them() {
        let package =
            |name: &str, version: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n");
        let (wanted, other) = (package("a", "1.0.0"), package("a", "2.0.0") + &package("b", "1.0.0"));
        let lock = format!("version = 4\n\n{wanted}{other}");
        let id = |name: &str| (name.to_owned(), "1.0.0".to_owned());
        assert_eq!(only(&lock, &[id("a")].into()).unwrap(), format!("version = 4\n\n{wanted}"));
        let error = only(&lock, &[id("c")].into()).unwrap_err().to_string();
        assert_eq!(error, r#"Cargo.lock has no [("c", "1.0.0")]"#);
    }

    #[test]
    fn a_document_depends_on_neither_the_time_nor_chance() {
        let origin = Origin { revision: None, created: "2026-01-02T03:04:05Z".to_owned() };
        let syft = |created: &str, namespace: &str, package: &str| {
            let document = serde_json::json!({
                "creationInfo": {"created": created},
                "documentNamespace": namespace,
                "packages": [package],
            });
            reproducible(document, "gateway", &origin).unwrap()
        };
        assert_eq!(syft("today", "1", "a"), syft("tomorrow", "2", "a"));
        let (a, b) = (syft("today", "1", "a"), syft("today", "1", "b"));
        let namespace =
            |document: &[u8]| serde_json::from_slice::<Value>(document).unwrap()["documentNamespace"].clone();
        assert_ne!(namespace(&a), namespace(&b));
    }
}
