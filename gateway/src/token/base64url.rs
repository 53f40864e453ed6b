//! Base64url without padding, as JOSE has it ([RFC 7515, 2]).
//!
//! [RFC 7515, 2]: https://www.rfc-editor.org/rfc/rfc7515#section-2

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `None` if the text is not base64url, or not its canonical form.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
