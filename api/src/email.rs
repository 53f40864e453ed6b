use std::{fmt, str::FromStr};

use crate::invalid::Invalid;

/// The e-mail address of a session's user.
///
/// Exactly what [`Email::PATTERN`] matches, up to [`Email::MAX_CHARS`] characters. The pattern is RE2, as the API server
/// reads it: `\s` is ASCII white space without the vertical tab.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

impl Email {
    pub const PATTERN: &str = r"^\S+@\S+\.\S+$";
    /// RFC 5321, section 4.5.3.1.3 as corrected by erratum 1690.
    pub const MAX_CHARS: usize = 254;
    pub const ALLOWED: &str = "an e-mail address such as alice@example.com, at most 254 characters";

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both addresses belong to the same person. The domain is compared without regard to case (RFC 4343), the local
    /// part exactly, because only the domain decides whether `Alice` is `alice` (RFC 5321, section 2.4).
    pub fn is_same_person(&self, other: &Self) -> bool {
        match (self.0.rsplit_once('@'), other.0.rsplit_once('@')) {
            (Some((local, domain)), Some((other_local, other_domain))) => {
                local == other_local && domain.eq_ignore_ascii_case(other_domain)
            }
            _ => false,
        }
    }

    /// The same address with its domain in lower case.
    pub fn normalized(&self) -> Self {
        match self.0.rsplit_once('@') {
            Some((local, domain)) => Self(format!("{local}@{}", domain.to_ascii_lowercase())),
            None => self.clone(),
        }
    }

    /// The part before the first `@` at which the pattern can split.
    pub fn local_part(&self) -> &str {
        split(&self.0).map_or("", |(local, _)| local)
    }
}

/// The earliest split leaves the most room for the rest, so if any split fits the pattern, this one does.
fn split(text: &str) -> Option<(&str, &str)> {
    let at = text.char_indices().skip(1).find(|&(_, c)| c == '@')?.0;
    Some((&text[..at], &text[at + 1..]))
}

/// `\S+\.\S+`: a dot that is neither first nor last.
fn has_inner_dot(domain: &str) -> bool {
    let mut chars = domain.chars();
    chars.next();
    chars.next_back();
    chars.as_str().contains('.')
}

impl FromStr for Email {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_space = |c| matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' ');
        let valid = !text.contains(is_space)
            && text.chars().count() <= Self::MAX_CHARS
            && split(text).is_some_and(|(_, domain)| has_inner_dot(domain));
        if valid { Ok(Self(text.to_owned())) } else { Err(Invalid::text(text, Self::ALLOWED)) }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "crd")]
crate::schema::json_schema_of!(Email, { "type": "string", "pattern": Email::PATTERN, "maxLength": Email::MAX_CHARS });

#[cfg(test)]
mod tests {
    use super::*;

    /// The pattern in the syntax of the `regex` crate.
    fn reference() -> regex::Regex {
        regex::Regex::new(r"^[^\t\n\x0c\r ]+@[^\t\n\x0c\r ]+\.[^\t\n\x0c\r ]+$").unwrap()
    }

    #[test]
    fn a_plain_address_parses_and_keeps_its_local_part() {
        let email: Email = "alice.b@example.com".parse().unwrap();
        assert_eq!((email.as_str(), email.local_part()), ("alice.b@example.com", "alice.b"));
    }

    #[test]
    fn the_parser_and_the_pattern_agree_on_every_short_string_of_the_characters_that_matter() {
        let (reference, alphabet) = (reference(), ['a', '@', '.', ' ', '\x0b', 'é']);
        let mut texts = vec![String::new()];
        for _ in 0..6 {
            texts = texts.iter().flat_map(|t| alphabet.iter().map(move |c| format!("{t}{c}"))).collect();
            for text in &texts {
                assert_eq!(text.parse::<Email>().is_ok(), reference.is_match(text), "{text:?}");
            }
        }
    }

    #[test]
    fn a_person_is_the_same_whatever_the_case_of_the_domain_but_not_of_the_name() {
        let email = |text: &str| text.parse::<Email>().unwrap();
        let alice = email("alice@Example.COM");
        assert_eq!(alice.normalized(), email("alice@example.com"));
        assert!(alice.is_same_person(&alice.normalized()) && alice.is_same_person(&email("alice@EXAMPLE.com")));
        for other in
            ["Alice@example.com", "bob@example.com", "alice@example.org", "alice@evil@example.com", "alice@exämple.com"]
        {
            assert!(!alice.is_same_person(&email(other)), "{other}");
        }
    }

    #[test]
    fn length_is_counted_in_characters_as_the_api_server_does() {
        let address = |chars: usize| format!("{}@b.c", "é".repeat(chars - 4));
        assert!(address(254).parse::<Email>().is_ok());
        assert!(address(255).parse::<Email>().is_err());
    }

    #[test]
    fn the_refusal_says_what_was_found_and_what_is_allowed() {
        let message = "alice".parse::<Email>().unwrap_err().to_string();
        assert_eq!(message, format!("found \"alice\"; allowed {}", Email::ALLOWED));
    }
}
