//! Host names that a program resolves as if a cluster's DNS had them, through nss_wrapper.

use std::{
    ffi::OsString,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// A file like /etc/hosts, which may change at any time.
pub struct Names(PathBuf);

impl Names {
    /// Creates an empty file. Needs Debian's package libnss-wrapper, see [`crate::setup::names`].
    pub fn new(file: &Path) -> Result<Self> {
        std::fs::write(file, "")?;
        Ok(Self(file.to_owned()))
    }

    /// The command prefix for programs that resolve these names.
    pub fn runner(&self) -> Vec<OsString> {
        let mut hosts = OsString::from("NSS_WRAPPER_HOSTS=");
        hosts.push(&self.0);
        vec!["/usr/bin/env".into(), "LD_PRELOAD=libnss_wrapper.so".into(), hosts]
    }

    /// Sets the addresses of a name, like those of a headless Service's ready pods.
    pub fn set(&self, name: &str, addresses: &[Ipv4Addr]) -> Result<()> {
        let lines: Vec<String> = addresses.iter().map(|address| format!("{address} {name}\n")).collect();
        // Replaced atomically, so that nobody reads an empty file.
        let next = self.0.with_extension("next");
        std::fs::write(&next, lines.concat())?;
        Ok(std::fs::rename(&next, &self.0)?)
    }
}
