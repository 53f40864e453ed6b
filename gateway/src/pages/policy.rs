//! The [`Content-Security-Policy`] of all pages.
//!
//! [`Content-Security-Policy`]: https://www.w3.org/TR/CSP3/

use std::sync::LazyLock;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::HeaderValue;
use ring::digest::{SHA256, digest};

use super::assets::{SCRIPTS, STYLE};

/// Only our own scripts and style, by their hashes, and the desktop in its frame. Not even the host itself may serve
/// scripts, because a desktop has its own there.
pub static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let scripts = SCRIPTS.map(source).join(" ");
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {scripts}; connect-src 'self'; img-src 'self'; frame-src 'self'; \
         frame-ancestors 'self'; base-uri 'none'; form-action 'self'",
        source(STYLE)
    );
    HeaderValue::try_from(policy).expect("hashes in base64 are valid in a header")
});

/// The hash of a script or a style, as the policy has it.
pub fn source(content: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, content.as_bytes())))
}
