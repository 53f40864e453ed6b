//! What a release changes.

use anyhow::{Context, Result};

/// The section of a changelog about `version`, without its heading.
///
/// # Errors
/// When there is none.
pub fn notes(changelog: &str, version: &str) -> Result<String> {
    let heading = format!("## [{version}]");
    let (_, rest) = changelog.split_once(&heading).with_context(|| {
        format!("CHANGELOG.md has no section `{heading}`: that is what `## [Unreleased]` becomes in a release")
    })?;
    // After the heading's date, up to the next heading or the links at the end.
    let section = rest.split_once('\n').map_or("", |(_, section)| section);
    let end = [section.find("\n## "), section.find("\n[")].into_iter().flatten().min().unwrap_or(section.len());
    Ok(section[..end].trim().to_owned() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n\n- c\n\n## [0.2.0] - 2026-01-01\n\n### Added\n\n- b [x](y)\n\n\
                             ## [0.1.0] - 2025-01-01\n\n- a\n\n[0.2.0]: https://example.com\n";

    #[test]
    fn notes_are_the_section_of_the_version_and_no_other() {
        assert_eq!(notes(CHANGELOG, "0.2.0").unwrap(), "### Added\n\n- b [x](y)\n");
        assert_eq!(notes(CHANGELOG, "0.1.0").unwrap(), "- a\n");
        assert!(notes(CHANGELOG, "0.3.0").unwrap_err().to_string().contains("no section `## [0.3.0]`"));
    }
}
