//! Files that may come from a Secret or a ConfigMap, which may not be there yet.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

/// Why a file can't be read, and what to do about it.
pub fn problem(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("{} does not exist; create what it is mounted from", path.display()),
        _ => format!("{} can't be read: {error}", path.display()),
    }
}
