//! Session tokens: JWTs ([RFC 7519]) by which a browser shows that it may open one session's desktop, at one host. Every
//! replica signs them, and every replica verifies those of the others.
//!
//! [RFC 7519]: https://www.rfc-editor.org/rfc/rfc7519

mod claims;
mod crypto;
mod key;
mod ring;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

pub use claims::{Claims, Grant, Purpose};
pub use key::{Key, KeyError, KeyId};
pub use ring::{Changes, KeyRing, Schedule};
pub use sign::{SignError, sign};
pub use verify::{Expected, Refused, verify};

/// Base64url without padding, as JOSE has it.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `None` for what isn't base64url, or isn't the one way to write it.
fn decode_segment(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
