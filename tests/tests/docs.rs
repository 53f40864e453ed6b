//! What the docs say about the code, where a machine can tell.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use regex::Regex;
use vdi_tests::workspace;

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension() {
            _ if path.is_dir() && !path.ends_with("target") => rust_files(&path, files)?,
            Some(extension) if extension == "rs" => files.push(path),
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn every_test_that_the_page_about_security_names_is_in_the_file_that_it_names() -> Result<()> {
    let mut files = Vec::new();
    for room in ["api", "controller", "gateway", "planner", "policy", "service", "tests"] {
        rust_files(&workspace().join(room), &mut files)?;
    }
    let function = Regex::new(r"fn ([a-z0-9_]+)\(")?;
    let mut functions = BTreeSet::new();
    for file in &files {
        let text = std::fs::read_to_string(file)?;
        functions.extend(function.captures_iter(&text).map(|found| found[1].to_owned()));
    }
    let page = std::fs::read_to_string(workspace().join("docs/security.md"))?;
    // A sentence of five words and more is a test's name.
    let named = Regex::new(r"`([a-z0-9]+(?:_[a-z0-9]+){4,})`")?;
    let named: BTreeSet<String> = named.captures_iter(&page).map(|found| found[1].to_owned()).collect();
    ensure!(named.len() > 50, "only {} tests are named", named.len());
    let missing: Vec<_> = named.difference(&functions).collect();
    ensure!(missing.is_empty(), "docs/security.md names tests that are not there: {missing:#?}");
    let paths =
        Regex::new(r"`((?:api|controller|deploy|fuzz|gateway|images|planner|policy|service|tests)/[a-z0-9_./-]+)`")?;
    for path in paths.captures_iter(&page) {
        ensure!(workspace().join(&path[1]).exists(), "docs/security.md names {}, which is not there", &path[1]);
    }
    Ok(())
}
