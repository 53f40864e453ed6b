use std::fmt;

use crate::email::Email;

/// One label of a host name (RFC 1123): lowercase letters, digits and inner hyphens, 1 to 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostLabel(String);

impl HostLabel {
    const MAX: usize = 63;

    /// The local part of an address as a label: runs of characters other than letters and digits become one hyphen. A local
    /// part without letters and digits becomes `user`.
    pub fn of_user(user: &Email) -> Self {
        let mut label = String::new();
        for c in user.local_part().chars() {
            match c.to_ascii_lowercase() {
                c @ ('a'..='z' | '0'..='9') => label.push(c),
                _ if !label.is_empty() && !label.ends_with('-') => label.push('-'),
                _ => {}
            }
        }
        Self::trimmed(&label, Self::MAX).unwrap_or_else(|| Self("user".to_owned()))
    }

    /// This label with `-suffix` appended, shortened to remain a label. `suffix` must consist of letters and digits.
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let head = Self::trimmed(&self.0, Self::MAX - 1 - suffix.len());
        Self(format!("{}-{suffix}", head.as_ref().unwrap_or(self)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn trimmed(label: &str, max: usize) -> Option<Self> {
        let label = label[..label.len().min(max)].trim_end_matches('-');
        (!label.is_empty()).then(|| Self(label.to_owned()))
    }
}

impl fmt::Display for HostLabel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(user: &str) -> String {
        HostLabel::of_user(&user.parse().unwrap()).to_string()
    }

    #[test]
    fn a_local_part_becomes_a_dns_label() {
        assert_eq!(label("alice@example.com"), "alice");
        assert_eq!(label("Alice.B+vdi@example.com"), "alice-b-vdi");
        assert_eq!(label("..a..b..@example.com"), "a-b");
        assert_eq!(label("日本@example.com"), "user");
        assert_eq!(label(&format!("{}@example.com", "x".repeat(100))), "x".repeat(63));
    }

    #[test]
    fn a_suffix_never_makes_a_label_too_long() {
        let long = HostLabel::of_user(&format!("{}@example.com", "x".repeat(100)).parse().unwrap());
        assert_eq!(long.with_suffix("7f3a9").as_str().len(), 63);
        assert_eq!(HostLabel("alice".into()).with_suffix("7f3a9").as_str(), "alice-7f3a9");
    }
}
