/// Text from outside, such as a registry's error or a desktop's log, made safe to show in terminals and on pages: without
/// control characters, which can move a cursor, and without [bidirectional controls], which can reorder what follows.
/// Line feeds stay.
///
/// [bidirectional controls]: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
pub fn printable(text: &str) -> String {
    text.chars().filter(|&c| c == '\n' || !(c.is_control() || is_bidi_control(c))).collect()
}

fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_message_moves_a_cursor_or_turns_the_direction_of_what_follows() {
        let hostile = "one\n\u{1b}[2Jtwo\r\0\u{9b}3m \u{202e}eerht\u{2066} ä\tfour";
        assert_eq!(printable(hostile), "one\n[2Jtwo3m eerht äfour");
    }
}
