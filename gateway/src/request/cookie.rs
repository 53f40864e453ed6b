//! Reading and setting cookies.

use std::borrow::Cow;

use http::{HeaderMap, header::COOKIE};

/// The cookie with a session token. Browsers accept a [`__Host-`] cookie only from its own host, over TLS, so a sibling
/// host, which is another user's desktop, can't set it.
///
/// [`__Host-`]: https://httpwg.org/http-extensions/draft-ietf-httpbis-rfc6265bis.html#name-the-__host-prefix
pub const SESSION: &str = "__Host-vdi-session";
/// The cookie with a login token, at the portal.
pub const LOGIN: &str = "__Host-vdi-login";
/// The cookie of a sign-in in progress.
pub const ATTEMPT: &str = "__Host-vdi-attempt";

/// The value of one of a request's cookies, as [`value`] finds it.
pub fn of(headers: &HeaderMap, name: &str) -> Option<String> {
    let headers = all(headers);
    value(headers.iter().map(Cow::as_ref), name).map(str::to_owned)
}

/// All `Cookie` headers. Another site can set a cookie that isn't text, which must not hide the others.
pub fn all(headers: &HeaderMap) -> Vec<Cow<'_, str>> {
    headers.get_all(COOKIE).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect()
}

/// The value of a cookie, from all `Cookie` headers of a request. `None` if it is missing, and also if it is there
/// twice: nobody can know which one is right.
pub fn value<'a>(headers: impl IntoIterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let pairs = headers.into_iter().flat_map(|header| header.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found.trim_matches([' ', '\t']) == name).then(|| value.trim_matches([' ', '\t']))
    });
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// A `Set-Cookie` header for a token. It lasts until the browser closes; the token itself says when it expires.
pub fn set(name: &str, token: &str) -> String {
    format!("{name}={token}; Path=/; Secure; HttpOnly; SameSite=Lax")
}

/// A `Set-Cookie` header that deletes the cookie.
pub fn clear(name: &str) -> String {
    format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

/// A request's cookies without the gateway's, for the desktop: those that its own pages have set stay.
pub fn without_ours<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let pairs = headers.into_iter().flat_map(|header| header.split(';')).map(|pair| pair.trim_matches([' ', '\t']));
    let foreign: Vec<&str> = pairs.filter(|pair| !pair.is_empty() && !is_ours(pair)).collect();
    (!foreign.is_empty()).then(|| foreign.join("; "))
}

/// Whether a cookie with its value, or a `Set-Cookie` header, is one of the gateway's.
pub fn is_ours(pair: &str) -> bool {
    // For a cookie without a name, some browsers treat the start of its value as its name.
    let name = pair.trim_start_matches(['=', ' ', '\t']).split('=').next().unwrap_or_default();
    name.trim().get(..11).is_some_and(|start| start.eq_ignore_ascii_case("__Host-vdi-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_in_several_headers() {
        assert_eq!(value(["a=b; __Host-vdi-session=x.y.z; c=d"], SESSION), Some("x.y.z"));
        assert_eq!(value(["a=b", "__Host-vdi-session=x=y"], SESSION), Some("x=y"));
    }

    #[test]
    fn a_cookie_that_is_duplicated_or_misspelled_counts_as_missing() {
        for headers in [
            &["__Host-vdi-session=1; __Host-vdi-session=2"][..],
            &["__Host-vdi-session=1", "__Host-vdi-session=1"],
            &["__host-vdi-session=1"],
            &["__Host-vdi-session2=1"],
            &["__Host-vdi-session"],
            &["__Host-vdi-session="],
            &["x__Host-vdi-session=1"],
            &[""],
            &[],
        ] {
            assert_eq!(value(headers.iter().copied(), SESSION), None, "{headers:?}");
        }
    }

    #[test]
    fn a_desktop_gets_its_own_cookies_and_never_ours() {
        let headers = ["a=b; __Host-vdi-session=secret;c=d", "__host-vdi-login=secret; __HOST-VDI-=1"];
        assert_eq!(without_ours(headers), Some("a=b; c=d".to_owned()));
        assert_eq!(without_ours(["__Host-vdi-session=secret"]), None);
    }

    #[test]
    fn a_binary_cookie_hides_no_other_and_a_nameless_one_is_named_by_its_value() {
        let mut headers = HeaderMap::new();
        let bytes = b"a=\xff\xe4; __Host-vdi-session=x.y.z";
        headers.insert(COOKIE, http::HeaderValue::from_bytes(bytes).unwrap());
        assert_eq!(of(&headers, SESSION).as_deref(), Some("x.y.z"));
        assert!(is_ours("=__Host-vdi-session=stolen; Domain=vdi.example.com"));
    }

    #[test]
    fn cookies_are_hidden_from_scripts_and_sent_over_tls_only() {
        assert_eq!(set(SESSION, "x"), "__Host-vdi-session=x; Path=/; Secure; HttpOnly; SameSite=Lax");
        assert!(clear(SESSION).ends_with("; Max-Age=0"));
    }
}
