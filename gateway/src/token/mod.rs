//! Session tokens: JWTs ([RFC 7519]) by which a browser shows that it may open one session's desktop, at one host.
//! Every replica signs them, and verifies those of the others.
//!
//! [RFC 7519]: https://www.rfc-editor.org/rfc/rfc7519

mod base64url;
mod claims;
mod crypto;
mod key;
mod ring;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

pub use base64url::base64url;
pub use claims::{Claims, Grant, Purpose};
pub use key::{Key, KeyError, KeyId};
pub use ring::{Changes, KeyRing, Schedule};
pub use sign::{SignError, sign};
pub use verify::{Expected, TokenError, verify};
