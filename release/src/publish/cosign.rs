//! Signatures, made by [cosign](https://github.com/sigstore/cosign).

use std::{ffi::OsStr, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Who signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// A private key. Nothing is sent to a public log.
    Key {
        /// As cosign's `--key` takes it: a file, or the URI of a key management service.
        key: String,
        /// Of the file; empty if it has none.
        password: String,
    },
    /// The identity that the surroundings prove, such as a workflow's. Sigstore's public log shows the signature.
    Keyless,
}

pub struct Cosign<'a> {
    program: &'a Path,
    signer: &'a Signer,
    docker_config: &'a Path,
    /// Files for a signature that needs no service.
    offline: TempDir,
}

impl<'a> Cosign<'a> {
    pub fn new(program: &'a Path, signer: &'a Signer, docker_config: &'a Path) -> Result<Self> {
        let offline = tempfile::tempdir()?;
        let write = |name: &str, media_type: &str| {
            fs::write(
                offline.path().join(name),
                format!(r#"{{"mediaType": "application/vnd.dev.sigstore.{media_type}"}}"#),
            )
        };
        write("signing-config.json", "signingconfig.v0.2+json")?;
        write("trusted-root.json", "trustedroot+json;version=0.1")?;
        Ok(Self { program, signer, docker_config, offline })
    }

    /// Signs an image or artifact, and the images of all architectures if it is an index of them.
    pub fn sign(&self, reference: &str) -> Result<()> {
        self.run("sign", |cosign| cosign.args(["--recursive", reference]))
    }

    /// Attaches a signed statement about `reference`. `kind` is one of those that `cosign attest --type` knows.
    pub fn attest(&self, reference: &str, kind: &str, predicate: &[u8]) -> Result<()> {
        let file = self.offline.path().join("predicate.json");
        fs::write(&file, predicate)?;
        self.run("attest", |cosign| cosign.args(["--type", kind, "--predicate"]).arg(&file).arg(reference))
    }

    /// Signs a file. The signature is in `bundle`.
    pub fn sign_file(&self, file: &Path, bundle: &Path) -> Result<()> {
        self.run("sign-blob", |cosign| cosign.arg("--bundle").arg(bundle).arg(file))
    }

    /// The public key; `None` where an identity signs.
    pub fn public_key(&self) -> Result<Option<Vec<u8>>> {
        let Signer::Key { key, password } = self.signer else { return Ok(None) };
        let mut cosign = Command::new(self.program);
        self.output(cosign.args(["public-key", "--key", key]).env("COSIGN_PASSWORD", password)).map(Some)
    }

    fn run(&self, command: &str, with: impl FnOnce(&mut Command) -> &mut Command) -> Result<()> {
        let mut cosign = Command::new(self.program);
        cosign.args([command, "--yes"]).env("DOCKER_CONFIG", self.docker_config);
        if let Signer::Key { key, password } = self.signer {
            cosign.args(["--key", key]).env("COSIGN_PASSWORD", password);
            cosign.arg("--signing-config").arg(self.offline.path().join("signing-config.json"));
            cosign.arg("--trusted-root").arg(self.offline.path().join("trusted-root.json"));
        }
        self.output(with(&mut cosign)).map(drop)
    }

    fn output(&self, cosign: &mut Command) -> Result<Vec<u8>> {
        let output = cosign.output().with_context(|| format!("can't run {}", self.program.display()))?;
        let words: Vec<_> = cosign.get_args().map(OsStr::to_string_lossy).collect();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`cosign {}` failed: {}", words.join(" "), said.trim());
        Ok(output.stdout)
    }
}
