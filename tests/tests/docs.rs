//! Checks what the docs say about the code.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use regex::Regex;
use vdi_tests::workspace;

/// Collects the files with this extension below a folder, without build output.
fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match path.is_dir() {
            true if name == "target" || name.starts_with('.') => {}
            true => files(&path, extension, found)?,
            false if path.extension().is_some_and(|it| it == extension) => found.push(path),
            false => {}
        }
    }
    Ok(())
}

/// Such as `a_sentence_of_five_words` (`tests/tests/file.rs`), or several tests and then their file.
#[test]
fn every_test_on_the_security_page_is_in_the_file_named_with_it() -> Result<()> {
    let mut sources = Vec::new();
    files(workspace(), "rs", &mut sources)?;
    let function = Regex::new(r"fn ([a-z0-9_]+)\(")?;
    let mut functions: BTreeMap<String, Vec<&PathBuf>> = BTreeMap::new();
    for source in &sources {
        for found in function.captures_iter(&fs::read_to_string(source)?) {
            functions.entry(found[1].to_owned()).or_default().push(source);
        }
    }
    let page = fs::read_to_string(workspace().join("docs/security.md"))?;
    let named = Regex::new(r"`(?<test>[a-z0-9]+(?:_[a-z0-9]+){4,})`|(?<file>\(`[a-z]+/[a-z0-9_./-]+`)")?;
    let mut checked = 0;
    for row in page.lines() {
        let mut waiting = Vec::new();
        for found in named.captures_iter(row) {
            if let Some(test) = found.name("test") {
                let places = functions.get(test.as_str());
                let places =
                    places.with_context(|| format!("docs/security.md names {}, which doesn't exist", test.as_str()))?;
                waiting.push((test.as_str(), places));
                continue;
            }
            let file = workspace().join(found["file"].trim_matches(['(', '`']));
            for (test, places) in waiting.drain(..) {
                ensure!(
                    places.iter().any(|place| place.starts_with(&file)),
                    "{test} is in {places:?}, not in {}",
                    file.display()
                );
                checked += 1;
            }
        }
        ensure!(waiting.is_empty(), "docs/security.md doesn't say where {waiting:?} are");
    }
    ensure!(checked > 50, "only {checked} tests are named with their file");
    Ok(())
}

#[test]
fn every_path_on_the_security_page_exists() -> Result<()> {
    let page = fs::read_to_string(workspace().join("docs/security.md"))?;
    let paths =
        Regex::new(r"`((?:api|controller|deploy|fuzz|gateway|images|planner|policy|service|tests)/[a-z0-9_./-]+)`")?;
    for path in paths.captures_iter(&page) {
        ensure!(workspace().join(&path[1]).exists(), "docs/security.md names {}, which doesn't exist", &path[1]);
    }
    Ok(())
}

#[test]
fn every_link_within_the_repository_leads_to_a_file() -> Result<()> {
    let mut pages = Vec::new();
    files(workspace(), "md", &mut pages)?;
    let link = Regex::new(r"\]\(([^)#\s]+)[^)]*\)")?;
    let mut dead = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page)?;
        let links = link.captures_iter(&text).map(|found| found[1].to_owned()).filter(|link| !link.contains("://"));
        let folder = page.parent().context("a file without a folder")?;
        dead.extend(links.filter(|link| !folder.join(link).exists()).map(|link| format!("{}: {link}", page.display())));
    }
    ensure!(pages.len() > 10, "only {} pages were found", pages.len());
    ensure!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    Ok(())
}
