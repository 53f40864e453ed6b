//! The files that are made from the code. A test below fails when one of them is not what the code says.

use std::{fs, path::PathBuf};

use anyhow::Context;
use vdi_api::crds;
use vdi_tests::workspace;

/// Writes them all.
pub fn run() -> anyhow::Result<()> {
    for (path, content) in files()? {
        fs::write(&path, content).with_context(|| format!("can't write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn files() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let crds = [crds::vdisession(), crds::vditemplate()];
    let file = |crd: &_| {
        let yaml = serde_saphyr::to_string(crd)?;
        anyhow::Ok(format!("# Generated from api/ by `cargo xtask generate`.\n{yaml}"))
    };
    let path = |plural: &str| workspace().join("deploy/crds").join(plural).with_extension("yaml");
    crds.iter().map(|crd| Ok((path(&crd.spec.names.plural), file(crd)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_files_are_what_the_code_says() {
        for (path, content) in files().unwrap() {
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == content, "{} is out of date: run `cargo xtask generate`", path.display());
        }
    }
}
