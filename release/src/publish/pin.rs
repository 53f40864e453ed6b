//! Digests in place of tags, in files that name images.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::{image::REGISTRY, workspace::VERSION};

/// The text with the digest of each image that it names by this version.
pub fn references(text: &str, digests: &BTreeMap<String, String>) -> String {
    digests.iter().fold(text.to_owned(), |text, (name, digest)| {
        text.replace(&format!("{REGISTRY}/{name}:{VERSION}"), &format!("{REGISTRY}/{name}@{digest}"))
    })
}

/// The chart's values with the digests, which are empty there. A serializer would drop the comments, which are their documentation.
///
/// # Errors
/// When they have no place for one.
pub fn values(values: &str, digests: &BTreeMap<String, String>) -> Result<String> {
    let mut left = digests.clone();
    let (mut section, mut image) = ("", "");
    let mut lines = Vec::new();
    for line in values.lines() {
        let name = |prefix: &str| Some(line.strip_prefix(prefix)?.split_once(':')?.0);
        if let Some(name) = name("").filter(|name| !name.starts_with([' ', '#'])) {
            section = name;
        } else if let Some(name) = name("  ").filter(|name| !name.starts_with([' ', '#'])) {
            image = name;
        }
        let digest = if section == "images" && line == r#"    digest: """# { left.remove(image) } else { None };
        lines.push(digest.map_or_else(|| line.to_owned(), |digest| format!(r#"    digest: "{digest}""#)));
    }
    let names: Vec<_> = left.into_keys().collect();
    ensure!(names.is_empty(), "values.yaml has no empty images.NAME.digest for {}", names.join(", "));
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests<const N: usize>(names: [&str; N]) -> BTreeMap<String, String> {
        names.map(|name| (name.to_owned(), format!("sha256:{name}"))).into()
    }

    #[test]
    fn only_images_of_this_version_are_pinned() {
        let text = format!("{REGISTRY}/gateway:{VERSION}\n{REGISTRY}/gateway:0.0.0\nother/gateway:{VERSION}");
        let pinned = format!("{REGISTRY}/gateway@sha256:gateway\n{REGISTRY}/gateway:0.0.0\nother/gateway:{VERSION}");
        assert_eq!(references(&text, &digests(["gateway"])), pinned);
    }

    #[test]
    fn values_keep_their_comments_and_get_each_digest_in_its_place() {
        let text =
            "# one\nimages:\n  # two\n  a:\n    digest: \"\"\n  b:\n    digest: \"\"\nother:\n  a:\n    digest: \"\"\n";
        let expected = text.replacen("digest: \"\"", "digest: \"sha256:a\"", 1);
        assert_eq!(values(text, &digests(["a"])).unwrap(), expected);
        let error = values(text, &digests(["a", "c"])).unwrap_err().to_string();
        assert_eq!(error, "values.yaml has no empty images.NAME.digest for c");
    }
}
