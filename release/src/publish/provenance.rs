//! Where an artifact comes from, as a predicate of [SLSA's provenance](https://slsa.dev/spec/v1.0/provenance).

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{command, digest::digest, image::Origin};

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// The sources that everything is built from, with what, and by whom.
pub fn predicate(sources: &Path, origin: &Origin) -> Result<Vec<u8>> {
    let lock = fs::read(sources.join("Cargo.lock")).context("can't read Cargo.lock")?;
    let lock = digest(&lock).replacen("sha256:", "", 1);
    let commit = origin.revision.as_deref().context("there is no git repository to say which commit this is")?;
    let rustc = command::rustc(sources, &["--version"])?;
    let predicate = json!({
        "buildDefinition": {
            "buildType": format!("{REPOSITORY}/blob/main/CONTRIBUTING.md#releasing"),
            "externalParameters": {"command": "cargo xtask release", "source": format!("git+{REPOSITORY}")},
            "internalParameters": {"rustc": rustc.trim()},
            "resolvedDependencies": [
                {"digest": {"gitCommit": commit}, "uri": format!("git+{REPOSITORY}")},
                {"digest": {"sha256": lock}, "name": "Cargo.lock"},
            ],
        },
        "runDetails": {"builder": {"id": builder()}},
    });
    Ok(serde_json::to_vec_pretty(&predicate)?)
}

/// The workflow, where it is one of GitHub's; else somebody who ran the command.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>
fn builder() -> String {
    let variable = |name| std::env::var(name).ok();
    match (variable("GITHUB_SERVER_URL"), variable("GITHUB_WORKFLOW_REF")) {
        (Some(server), Some(workflow)) => format!("{server}/{workflow}"),
        _ => format!("{REPOSITORY}/blob/main/CONTRIBUTING.md#releasing"),
    }
}
