//! Names of VDITemplates, and globs that match them.

use std::fmt;

use serde_json::Value;
use vdi_api::Invalid;

use crate::{
    field::{FromJson, parse},
    setting::{Shape, scalars},
};

pub const TEMPLATE_NAME: &str =
    "a VDITemplate name: lowercase letters, digits, inner hyphens and dots, at most 253 characters";

/// An [RFC 1123 subdomain], which the API server requires of VDITemplate names.
///
/// [RFC 1123 subdomain]: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
pub fn is_template_name(name: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(is_inner)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A template name in which `*` matches any characters, including none, and `?` matches one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    const ALLOWED: &str =
        "a VDITemplate name or glob: lowercase letters, digits, hyphens, dots, * for any characters and ? for one";

    /// Takes time at most proportional to the product of both lengths.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where to resume when the text after the last star doesn't match: one character further.
        let mut retry = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    retry = Some((p + 1, n));
                    p += 1;
                }
                Some(&c) if c == b'?' || c == name[n] => (p, n) = (p + 1, n + 1),
                _ => match retry {
                    Some((after, from)) => {
                        retry = Some((after, from + 1));
                        (p, n) = (after, from + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&c| c == b'*')
    }
}

impl FromJson for Glob {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        parse(value, Self::ALLOWED, |text| {
            let is_known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.*?".contains(&c);
            // With its wildcards replaced it must be a valid name.
            let could_match = is_template_name(&text.replace(['*', '?'], "0"));
            (could_match && text.bytes().all(is_known)).then(|| Self(text.to_owned()))
        })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalars! {
    Glob: Shape::Text(Glob::ALLOWED),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: FromJson>(text: &str) -> Option<T> {
        T::from_json(Some(&json!(text))).ok()
    }

    #[test]
    fn names_are_what_the_api_server_lets_a_template_be_called() {
        for name in ["a", "0", "ubuntu-22.04", "a--b", &"a".repeat(253)] {
            assert!(is_template_name(name), "{name}");
        }
        for name in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "A", "a_b", "a b", "ä", "a\n", &"a".repeat(254)]
        {
            assert!(!is_template_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_glob_agrees_with_its_regular_expression() {
        let words = |alphabet: &[&str]| {
            let mut words = vec![String::new()];
            for _ in 0..4 {
                words.extend(words.clone().iter().flat_map(|word| alphabet.iter().map(move |c| format!("{word}{c}"))));
            }
            words.sort();
            words.dedup();
            words
        };
        let names = words(&["a", "b"]);
        for pattern in words(&["a", "b", "*", "?"]) {
            let Some(glob) = read::<Glob>(&pattern) else { continue };
            let expression = format!("^{}$", pattern.replace('*', ".*").replace('?', "."));
            let expression = regex::Regex::new(&expression).unwrap();
            for name in &names {
                assert_eq!(glob.matches(name), expression.is_match(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn a_glob_that_could_match_no_name_is_refused() {
        for pattern in ["*", "?", "ubuntu-*", "*-22.04", "a?c"] {
            assert!(read::<Glob>(pattern).is_some(), "{pattern}");
        }
        for pattern in ["", "Ubuntu*", "[ab]", "a/*", "a b", "{a,b}", "-*", "*.", ".*", "a..*", "^a$", "ä*"] {
            assert_eq!(read::<Glob>(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn a_glob_full_of_stars_takes_no_time() {
        let glob = read::<Glob>(&format!("{}c", "a*".repeat(126))).unwrap();
        assert!(!glob.matches(&format!("{}b", "a".repeat(100_000))));
    }
}
