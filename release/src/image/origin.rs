use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// Which sources an image is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The commit; with `-dirty` where files differ from it. `None` without git.
    pub revision: Option<String>,
    /// When it was committed, in RFC 3339: the sources' time, not the build's. Without git, 1970.
    pub created: String,
}

impl Origin {
    /// Asks git about the workspace in `folder`.
    ///
    /// # Errors
    /// When it is a git repository that git can't read.
    pub fn of(folder: &Path) -> Result<Self> {
        // A folder, or in a worktree a file.
        if !folder.join(".git").exists() {
            return Ok(Self { revision: None, created: "1970-01-01T00:00:00Z".to_owned() });
        }
        let describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"];
        let time = ["log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"];
        Ok(Self { revision: Some(git(folder, &describe)?), created: git(folder, &time)? })
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).current_dir(folder).env("TZ", "UTC").output();
    let output = output.context("can't run git, which says what commit the image is made from")?;
    ensure!(output.status.success(), "git failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
