//! Formatting for people.

use std::io::{ErrorKind, Write, stdout};

use anyhow::Result;
use serde_json::Value;

/// Prints to standard output. A reader that stops early, such as `head`, is no error.
pub fn show(text: &str) -> Result<()> {
    match stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// `310 KiB`
pub fn size(bytes: usize) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

/// Escapes control characters in text from outside.
pub fn harmless(text: &str) -> String {
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().flat_map(|c| if acts(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A string without its quotes, anything else as JSON.
pub fn scalar(value: &Value) -> String {
    harmless(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Indents every line.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_wrote_does_nothing_to_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2J\u{202e}b\nü"), "a\\u{1b}[2J\\u{202e}b\nü");
    }
}
