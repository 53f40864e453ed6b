//! Errors, with messages that tell the reader what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a cluster could not be started or used. Each message names the step, and the log file where there is one.
#[derive(thiserror::Error)]
pub enum Error {
    #[error(
        "{program} must be built once, and `go` is not in PATH: install Go (https://go.dev/dl/), or set \
         KUBEBUILDER_ASSETS to a directory that has {program}"
    )]
    GoMissing { program: &'static str },

    #[error("neither XDG_CACHE_HOME nor HOME is set: set one, so that built programs can be kept")]
    NoCacheDirectory,

    #[error("building {program} failed; the whole output is in {}:\n{tail}", log.display())]
    Build { program: &'static str, log: PathBuf, tail: String },

    #[error("{name} exited ({status}) before it was ready; its log is {}:\n{tail}", log.display())]
    ServerExited { name: &'static str, status: ExitStatus, log: PathBuf, tail: String },

    #[error("{name} was not ready after {seconds} s ({last}); its log is {}:\n{tail}", log.display())]
    ServerNotReady { name: &'static str, seconds: u64, last: String, log: PathBuf, tail: String },

    #[error("{} already has a running cluster: stop that one or choose another directory", directory.display())]
    DirectoryInUse { directory: PathBuf },

    #[error("the cluster was started without the user {name:?}: give it to ControlPlane::start")]
    UnknownUser { name: String },

    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },

    #[error("issuing the certificate for {subject}: {source}")]
    Certificate { subject: String, source: rcgen::Error },

    #[error("reading {}: {source}", path.display())]
    Kubeconfig { path: PathBuf, source: Box<kube::config::KubeconfigError> },

    #[error("{action}: {source}")]
    Kubernetes { action: String, source: Box<kube::Error> },

    #[error("packages are missing ({missing}) and this is not a Debian system: install what they contain by hand")]
    NotDebian { missing: String },

    #[error("{what}: run this as root, for example with sudo")]
    NotRoot { what: String },

    #[error("`{command}` failed ({status}):\n{output}")]
    Command { command: String, status: ExitStatus, output: String },

    #[error("{0}")]
    Unsupported(&'static str),
}

/// The same as `Display`, because tests show errors through `unwrap`.
impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Error {
    /// Whether a server found its port taken.
    pub(crate) fn is_address_in_use(&self) -> bool {
        matches!(self, Self::ServerExited { log, .. }
            if std::fs::read_to_string(log).is_ok_and(|log| log.contains("address already in use")))
    }
}

/// Adds the action and the file to an I/O error.
pub(crate) trait IoContext<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source })
    }
}

/// Adds the action to an error of the API server.
pub(crate) trait KubeContext<T> {
    fn context(self, action: impl Into<String>) -> Result<T, Error>;
}

impl<T> KubeContext<T> for kube::Result<T> {
    fn context(self, action: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| Error::Kubernetes { action: action.into(), source: Box::new(source) })
    }
}
