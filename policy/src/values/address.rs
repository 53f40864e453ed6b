//! E-mail addresses that identify the user of a desktop. They are stricter than the API server's pattern.

use serde_json::Value;
use vdi_api::{Email, Invalid};

use super::domain::is_domain;
use crate::field;

const ALLOWED: &str = "an e-mail address such as alice@example.com: at most 254 visible characters, without spaces, quotes \
                       or brackets, with one @ followed by a domain";

/// # Errors
/// When it isn't such an address, or not a string.
pub fn from_json(value: Option<&Value>) -> Result<Email, Invalid> {
    field::parse(value, ALLOWED, parse)
}

/// `None` if it isn't an address, or could be mistaken for another.
pub fn parse(text: &str) -> Option<Email> {
    let (name, domain) = text.split_once('@')?;
    (name.chars().all(is_plain) && is_domain(domain)).then(|| text.parse().ok()).flatten()
}

/// Allowed in the local part: an `atext` of RFC 5322, section 3.2.3, or a dot; beyond ASCII (RFC 6531) visible characters.
fn is_plain(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        _ if c.is_ascii() => ".!#$%&'*+-/=?^_`{|}~".contains(c),
        _ => !c.is_control() && !c.is_whitespace() && !is_invisible(c),
    }
}

/// Characters that Unicode defines as not displayed (`Default_Ignorable_Code_Point`, including zero-width and bidirectional
/// characters), as formatting (category `Cf`), or as unassigned (private use areas, noncharacters).
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{10ffff}'
    ) || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unicode_calls_invisible_is_refused_and_letters_of_all_scripts_are_not() {
        let bad =
            regex::Regex::new(r"[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Cc}\p{Co}\p{Z}\p{White_Space}]").unwrap();
        let letter = regex::Regex::new(r"[\p{L}\p{N}&&[^\p{Default_Ignorable_Code_Point}]]").unwrap();
        for c in ('\u{80}'..=char::MAX).filter(|&c| c != '\u{fffd}') {
            let text = c.to_string();
            if bad.is_match(&text) {
                assert!(!is_plain(c), "{c:?} is let through");
            }
            if letter.is_match(&text) {
                assert!(is_plain(c), "{c:?} is refused");
            }
            // The last two code points of each plane are noncharacters.
            if u32::from(c) % 0x10000 >= 0xfffe {
                assert!(!is_plain(c), "{c:?} is let through");
            }
        }
    }

    #[test]
    fn plain_addresses_pass_and_tricky_ones_do_not() {
        for text in [
            "alice@example.com",
            "Alice.B+vdi@EXAMPLE.co.uk",
            "o'brien@example.com",
            "日本@例え.jp".replace("例え", "xn--r8jz45g").as_str(),
        ] {
            assert!(parse(text).is_some(), "{text}");
        }
        let long = format!("{}@example.com", "a".repeat(243));
        for text in [
            "",
            "@",
            "alice",
            "@example.com",
            "alice@",
            "alice@example",
            "alice@@example.com",
            "a@b@example.com",
            "a b@example.com",
            "\"a b\"@example.com",
            "<alice@example.com>",
            "a,b@example.com",
            "alice@exam_ple.com",
            "alice@example.com.",
            "alice@-a.com",
            "alice@127.0.0.1",
            "alice@[127.0.0.1]",
            "alice@exämple.com",
            "alice\u{200b}@example.com",
            "\u{202e}ecila@example.com",
            "alice@example.com\n",
            "al\u{0b}ice@example.com",
            "al\u{a0}ice@example.com",
            "\u{feff}alice@example.com",
            &long,
        ] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }
}
