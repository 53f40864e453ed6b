//! Input in the messages of a VNC client ([RFC 6143, 7.5], and the extensions of noVNC). An open viewer requests
//! updates all the time.
//!
//! [RFC 6143, 7.5]: https://www.rfc-editor.org/rfc/rfc6143#section-7.5

/// Whether a websocket message carries a key, a pointer or the clipboard. It may hold several VNC messages; noVNC never
/// splits one across two.
pub fn is_input(mut bytes: &[u8]) -> bool {
    while let Some((&kind, rest)) = bytes.split_first() {
        let length = match kind {
            KEY | POINTER | CLIPBOARD | QEMU => return true,
            SET_PIXEL_FORMAT => Some(20),
            SET_ENCODINGS => be16(rest, 1).map(|count| 4 + 4 * count),
            UPDATE_REQUEST => Some(10),
            CONTINUOUS_UPDATES => Some(10),
            FENCE => rest.get(7).map(|length| 9 + usize::from(*length)),
            SET_DESKTOP_SIZE => rest.get(5).map(|screens| 8 + 16 * usize::from(*screens)),
            XVP => Some(4),
            // The handshake, or a newer extension: no sign of a person.
            _ => None,
        };
        match length.and_then(|length| bytes.get(length..)) {
            Some(next) => bytes = next,
            None => return false,
        }
    }
    false
}

const SET_PIXEL_FORMAT: u8 = 0;
const SET_ENCODINGS: u8 = 2;
const UPDATE_REQUEST: u8 = 3;
const KEY: u8 = 4;
const POINTER: u8 = 5;
const CLIPBOARD: u8 = 6;
const CONTINUOUS_UPDATES: u8 = 150;
const FENCE: u8 = 248;
const XVP: u8 = 250;
const SET_DESKTOP_SIZE: u8 = 251;
/// Keys with their scan codes (QEMU Extended Key Event).
const QEMU: u8 = 255;

fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPDATE: [u8; 10] = [3, 1, 0, 0, 0, 0, 4, 0, 3, 0];
    const KEY_DOWN: [u8; 8] = [4, 1, 0, 0, 0, 0, 0, 0x61];

    #[test]
    fn keys_pointer_and_clipboard_are_input() {
        let pointer = [5, 0, 0, 10, 0, 20];
        let clipboard = [6, 0, 0, 0, 0, 0, 0, 2, b'h', b'i'];
        let qemu = [255, 0, 0, 1, 0, 0, 0, 0x61, 0, 0, 0, 0x1e];
        for input in [&KEY_DOWN[..], &pointer, &clipboard, &qemu] {
            assert!(is_input(input), "{input:?}");
            assert!(is_input(&[&UPDATE[..], input].concat()), "behind another: {input:?}");
        }
    }

    #[test]
    fn what_an_open_viewer_sends_by_itself_is_not_input() {
        let pixel_format = [&[0, 0, 0, 0, 32, 24][..], &[4; 14]].concat();
        let encodings = [&[2, 0, 0, 3][..], &[5; 12]].concat();
        let fence = [&[248, 0, 0, 0, 0, 0, 0, 1, 4][..], &[4; 4]].concat();
        let size = [&[251, 0, 4, 0, 3, 0, 1, 0][..], &[4; 16]].concat();
        let continuous = [150, 1, 0, 4, 0, 4, 0, 4, 0, 4];
        for message in [&UPDATE[..], &pixel_format, &encodings, &fence, &size, &continuous, &[250, 0, 1, 2]] {
            assert!(!is_input(message), "{message:?}");
            assert!(!is_input(&[message, &UPDATE].concat()), "{message:?}");
            assert!(is_input(&[message, &KEY_DOWN].concat()), "a key behind {message:?}");
        }
        for handshake in [&b"RFB 003.008\n"[..], &[1], &[0], b""] {
            assert!(!is_input(handshake), "{handshake:?}");
        }
    }

    #[test]
    fn a_truncated_message_is_not_input() {
        for cut in [&[2, 0, 0][..], &[248, 0, 0, 0], &[251], &[2, 0, 0xff, 0xff, 4], &UPDATE[..9]] {
            assert!(!is_input(cut), "{cut:?}");
        }
    }
}
