use std::fmt;

/// Why a value was refused: what was found, and what is allowed instead.
///
/// Every part of the product shows it in the same form: `found "8 hours"; allowed a duration ...`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found}; allowed {allowed}")]
pub struct Invalid {
    pub found: String,
    pub allowed: String,
}

impl Invalid {
    /// For text from a request: quotes it, escapes control characters, and limits the length.
    pub fn text(found: &str, allowed: impl Into<String>) -> Self {
        const SHOWN: usize = 80;
        let mut quoted = format!("{:?}", found.chars().take(SHOWN).collect::<String>());
        if found.chars().count() > SHOWN {
            quoted.push_str(&format!("... ({} characters)", found.chars().count()));
        }
        Self { found: quoted, allowed: allowed.into() }
    }

    /// For anything else, printed as it is: a number, or a phrase such as `nothing`.
    pub fn value(found: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self { found: found.to_string(), allowed: allowed.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_shown_escaped_and_short() {
        let invalid = Invalid::text(&"a\n\u{202e}".repeat(100), "a word");
        assert!(!invalid.found.contains('\n') && !invalid.found.contains('\u{202e}'), "{}", invalid.found);
        assert!(invalid.found.ends_with("... (300 characters)"), "{}", invalid.found);
    }
}
