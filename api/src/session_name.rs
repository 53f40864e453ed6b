use std::str::FromStr;

use crate::invalid::Invalid;

/// A session's name: one label of a host name (RFC 1123), short enough for the names that are derived from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionName(String);

impl SessionName {
    pub const PATTERN: &str = "^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$";
    pub const MAX_CHARS: usize = 52;
    pub const ALLOWED: &str = "lowercase letters, digits and inner hyphens, at most 52 characters: the pod and host names are derived from it";

    /// Checks a `generateName`, to which the API server appends five letters and digits.
    ///
    /// # Errors
    /// When the generated name would not be a session name.
    pub fn check_prefix(prefix: &str) -> Result<(), Invalid> {
        format!("{prefix}x0000").parse::<Self>().map(drop).map_err(|_| Invalid::text(prefix, Self::ALLOWED))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let valid = (1..=Self::MAX_CHARS).contains(&text.len())
            && text.bytes().all(is_inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid { Ok(Self(text.to_owned())) } else { Err(Invalid::text(text, Self::ALLOWED)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_and_the_pattern_agree() {
        let pattern = regex::Regex::new(SessionName::PATTERN).unwrap();
        let mut texts = vec![String::new(), "a".repeat(52), "a".repeat(53), "é".to_owned(), "a\n".to_owned()];
        for _ in 0..4 {
            texts.extend(
                texts.clone().iter().take(500).flat_map(|t| ['a', '0', '-', '.', 'A'].map(|c| format!("{t}{c}"))),
            );
        }
        for text in texts {
            assert_eq!(text.parse::<SessionName>().is_ok(), pattern.is_match(&text), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_leaves_room_for_what_the_api_server_adds() {
        assert!(SessionName::check_prefix(&format!("{}-", "a".repeat(46))).is_ok());
        for prefix in ["", &"a".repeat(48), "-a", "A", "a."] {
            assert_eq!(SessionName::check_prefix(prefix).is_ok(), prefix.is_empty(), "{prefix:?}");
        }
    }
}
