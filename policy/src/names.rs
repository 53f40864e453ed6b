//! Names of hosts, of objects, and patterns of both.

use std::fmt;

use serde_json::Value;
use vdi_api::Invalid;

use crate::{
    field::{FromJson, parse},
    image::Repository,
    settings::setting::{Shape, scalars},
};

/// A [DNS name] of several labels, as a mail domain is: letters, digits and inner hyphens; not all digits at the end, as
/// in an IP address.
///
/// [DNS name]: https://www.rfc-editor.org/rfc/rfc1123#section-2
pub fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(is_label)
        && !last.bytes().all(|c| c.is_ascii_digit())
}

pub const OBJECT_NAME: &str =
    "a VDITemplate's name: lower-case letters, digits, inner hyphens and dots, at most 253 characters";

/// An [RFC 1123 subdomain], which is what the API server lets a VDITemplate be called.
///
/// [RFC 1123 subdomain]: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
pub fn is_object_name(name: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(is_inner)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A domain, or `*.` and a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainPattern(String);

impl DomainPattern {
    const ALLOWED: &str = "a domain such as example.com, or *.example.com for any domain below it";

    /// Case doesn't count (RFC 4343).
    pub fn matches(&self, domain: &str) -> bool {
        match self.0.strip_prefix("*.") {
            None => domain.eq_ignore_ascii_case(&self.0),
            Some(parent) => {
                domain.len().checked_sub(parent.len()).and_then(|start| domain.split_at_checked(start)).is_some_and(
                    |(below, end)| end.eq_ignore_ascii_case(parent) && below.len() > 1 && below.ends_with('.'),
                )
            }
        }
    }
}

impl FromJson for DomainPattern {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        parse(value, Self::ALLOWED, |text| {
            is_domain(text.strip_prefix("*.").unwrap_or(text)).then(|| Self(text.to_owned()))
        })
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A template's name in which `*` stands for any characters, also none, and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    const ALLOWED: &str =
        "a VDITemplate's name or a glob: lower-case letters, digits, hyphens, dots, * for any characters and ? for one";

    /// Takes time proportional to both lengths at most, whatever the pattern.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where to go on when what follows the last star doesn't fit: one character further.
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
            // Without its wildcards it must be able to be a name.
            let could_match = is_object_name(&text.replace(['*', '?'], "0"));
            (could_match && text.bytes().all(is_known)).then(|| Self(text.to_owned()))
        })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A registry, or the beginning of a path in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry(String);

impl Registry {
    const ALLOWED: &str =
        "a registry such as registry.example.com, with the beginning of a path if wanted, as in docker.io/library";

    pub fn contains(&self, repository: &Repository) -> bool {
        let rest = repository.as_str().strip_prefix(&self.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromJson for Registry {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        parse(value, Self::ALLOWED, |text| {
            let (host, path) = text.split_once('/').unwrap_or((text, "x"));
            let valid = Repository::is_host(host) && Repository::is_path(path);
            valid.then(|| Self(text.replacen(host, &host.to_ascii_lowercase(), 1)))
        })
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A whole number of things, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u32);

impl Count {
    const ALLOWED: &str = "a whole number, at least 1";
}

impl FromJson for Count {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        let count = value.and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
        count.filter(|&count| count > 0).map(Self).ok_or_else(|| crate::field::refused(value, Self::ALLOWED))
    }
}

impl FromJson for String {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        parse(value, "a string", |text| Some(text.to_owned()))
    }
}

scalars! {
    DomainPattern: Shape::Text(DomainPattern::ALLOWED),
    Glob: Shape::Text(Glob::ALLOWED),
    Registry: Shape::Text(Registry::ALLOWED),
    Count: Shape::Whole(1, Count::ALLOWED),
    String: Shape::Text("a string"),
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
            assert!(is_object_name(name), "{name}");
        }
        for name in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "A", "a_b", "a b", "ä", "a\n", &"a".repeat(254)]
        {
            assert!(!is_object_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_domain_has_several_labels_and_is_no_address() {
        for domain in
            ["a.b", "Example.COM", "xn--bcher-kva.example", "1.2.com", "a-b.c-d", &format!("{}.b", "a".repeat(63))]
        {
            assert!(is_domain(domain), "{domain}");
        }
        let long = format!("{}a.b", "a.".repeat(126));
        for domain in [
            "",
            "a",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b.c",
            "ä.b",
            "127.0.0.1",
            "[::1]",
            "a.b ",
            &long,
            &format!("{}.b", "a".repeat(64)),
        ] {
            assert!(!is_domain(domain), "{domain:?}");
        }
    }

    #[test]
    fn a_pattern_with_a_star_is_every_domain_below_and_not_the_domain() {
        let matches = |pattern: &str, domain: &str| read::<DomainPattern>(pattern).unwrap().matches(domain);
        assert!(matches("example.com", "EXAMPLE.com") && !matches("example.com", "a.example.com"));
        assert!(matches("*.example.com", "a.example.COM") && matches("*.example.com", "a.b.example.com"));
        for domain in ["example.com", ".example.com", "evilexample.com", "example.org", "com", "é.com", "x"] {
            assert!(!matches("*.example.com", domain), "{domain}");
        }
        for pattern in ["", "*", "*.", "*.com.", "a.*.com", "*example.com", "com", "exa mple.com", "@example.com"] {
            assert_eq!(read::<DomainPattern>(pattern), None, "{pattern}");
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
