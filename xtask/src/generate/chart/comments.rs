//! The comments in values.yaml, each above its value.

/// The path of each value that has a comment, with the comment on one line.
pub fn of(values: &str) -> impl Iterator<Item = (Vec<String>, String)> {
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    values.lines().filter_map(move |line| {
        let text = line.trim_start();
        if let Some(words) = text.strip_prefix("# ") {
            comment.push(words);
            return None;
        }
        let words = std::mem::take(&mut comment).join(" ");
        let name = text.split_once(':').map(|(name, _)| name).filter(|name| !name.starts_with('-'))?;
        let indent = line.len() - text.len();
        path.retain(|(outer, _)| *outer < indent);
        path.push((indent, name.to_owned()));
        (!words.is_empty()).then(|| (path.iter().map(|(_, name)| name.clone()).collect(), words))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_comment_belongs_to_the_value_below_it() {
        let values = "# About the file.\n\n# One\n# and the same.\na: 1\nb:\n  # Two\n  c:\n    - d: 3\n  e: 4\n# Three\nf: {}\n";
        let found: Vec<_> = super::of(values).map(|(path, comment)| (path.join("."), comment)).collect();
        let expected = [("a", "One and the same."), ("b.c", "Two"), ("f", "Three")];
        assert_eq!(found, expected.map(|(path, comment)| (path.to_owned(), comment.to_owned())));
    }
}
