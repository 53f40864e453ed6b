//! The token that a request carries in its `Authorization` header.

use http::{HeaderMap, header::AUTHORIZATION};

/// The token of a [bearer authorization].
///
/// [bearer authorization]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
