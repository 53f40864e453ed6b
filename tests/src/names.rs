//! Names that a program looks up as if a cluster's DNS had them, by nss_wrapper.

use std::{
    ffi::OsString,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// A file like /etc/hosts, which may change at any time.
pub struct Names(PathBuf);

impl Names {
    /// Without any. Needs Debian's package libnss-wrapper, see [`crate::setup::names`].
    pub fn new(file: &Path) -> Result<Self> {
        std::fs::write(file, "")?;
        Ok(Self(file.to_owned()))
    }

    /// What runs a program that looks names up here.
    pub fn runner(&self) -> Vec<OsString> {
        let mut hosts = OsString::from("NSS_WRAPPER_HOSTS=");
        hosts.push(&self.0);
        vec!["/usr/bin/env".into(), "LD_PRELOAD=libnss_wrapper.so".into(), hosts]
    }

    /// From now on the name has these addresses, as that of a headless Service has those of its ready pods.
    pub fn set(&self, name: &str, addresses: &[Ipv4Addr]) -> Result<()> {
        let lines: Vec<String> = addresses.iter().map(|address| format!("{address} {name}\n")).collect();
        // In one step: it must not be read while it is empty.
        let next = self.0.with_extension("next");
        std::fs::write(&next, lines.concat())?;
        Ok(std::fs::rename(&next, &self.0)?)
    }
}
