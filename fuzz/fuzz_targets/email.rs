//! An address is exactly what the CRD's pattern matches, and what the policy accepts is an address.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use regex::Regex;
use vdi_api::Email;
use vdisession_policy::values::address;

/// `Email::PATTERN` with RE2's meaning of `\s`.
static PATTERN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[^\t\n\x0c\r ]+@[^\t\n\x0c\r ]+\.[^\t\n\x0c\r ]+$").unwrap());
static HIDDEN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{Cc}\p{Cf}\p{Co}\p{Z}]").unwrap());

fuzz_target!(|text: &str| {
    let email = text.parse::<Email>().ok();
    assert_eq!(email.is_some(), PATTERN.is_match(text) && text.chars().count() <= Email::MAX_CHARS, "{text:?}");
    if let Some(email) = &email {
        let normalized = email.normalized();
        assert!(normalized.is_same_person(email), "{text:?}");
        assert_eq!(normalized.normalized(), normalized, "{text:?}");
        assert_eq!(normalized.as_str().parse(), Ok(normalized), "{text:?}");
    }
    if let Some(address) = address::parse(text) {
        assert_eq!(Some(address), email, "{text:?}");
        assert!(text.matches('@').count() == 1 && !HIDDEN.is_match(text), "{text:?}");
    }
});
