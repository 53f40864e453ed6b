//! The domains of e-mail addresses.

use std::fmt;

use serde_json::Value;
use vdi_api::Invalid;

use crate::{
    field::{FromJson, parse},
    setting::{Shape, scalars},
};

/// A [DNS name] of several labels: letters, digits and inner hyphens. The last label is not all digits, unlike in an IP
/// address.
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

/// A domain, or `*.` followed by a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainPattern(String);

impl DomainPattern {
    const ALLOWED: &str = "a domain such as example.com, or *.example.com for any of its subdomains";

    /// Ignores case (RFC 4343).
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

scalars! {
    DomainPattern: Shape::Text(DomainPattern::ALLOWED),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: FromJson>(text: &str) -> Option<T> {
        T::from_json(Some(&json!(text))).ok()
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
}
