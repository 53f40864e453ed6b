use vdi_api::Invalid;

use super::Field;
use crate::{field::refused, settings::Settings};

pub fn allowed(field: &Field, settings: &Settings) -> Result<(), Invalid> {
    let name = field.value.and_then(|value| value.as_str()).filter(|name| is_object_name(name));
    let name = name.ok_or_else(|| refused(field.value, ALLOWED))?;
    if settings.templates.is_empty() || settings.templates.iter().any(|allowed| allowed == name) {
        Ok(())
    } else {
        Err(Invalid::text(name, settings.templates.join(", ")))
    }
}

pub const ALLOWED: &str =
    "a VDITemplate's name: lower-case letters, digits, inner hyphens and dots, at most 253 characters";

/// An [RFC 1123 subdomain], which is what the API server lets a VDITemplate be called.
///
/// [RFC 1123 subdomain]: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
pub fn is_object_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(is_inner)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
