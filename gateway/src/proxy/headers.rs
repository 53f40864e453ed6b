//! Which headers of a request reach the desktop, and which headers of its answer reach the browser.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_SECURITY_POLICY, COOKIE, FORWARDED, REFERRER_POLICY,
        SEC_WEBSOCKET_EXTENSIONS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};

use crate::request::{
    cookie,
    origin::{is_upgrade, tokens},
};

/// Headers of one connection, which are not passed on ([RFC 9110, 7.6.1]).
///
/// [RFC 9110, 7.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Who sent a request, as the desktop is told.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub address: IpAddr,
    /// `http` or `https`: how the browser reached this gateway.
    pub scheme: &'a str,
    /// As in the request's `Host`, with its port.
    pub authority: &'a str,
}

/// Turns a browser's request into one of this gateway: without credentials, which are for the gateway alone, and with
/// its own statement of where the request came from. Returns the protocol that the request asks to switch to; the
/// header is kept.
pub fn clean_request(headers: &mut HeaderMap, client: &Client) -> Option<HeaderValue> {
    let upgrade = requested_protocol(headers);
    remove_hop_by_hop(headers);
    let cookies = cookie::all(headers);
    let cookies = cookie::without_ours(cookies.iter().map(|header| header.as_ref()));
    // A proxy that uses /check knows from x-vdi-user who was let in. A desktop could not tell it from a client's own
    // header.
    let is_forwarded = |name: &HeaderName| {
        ["x-forwarded-", "x-vdi-"].iter().any(|start| name.as_str().starts_with(start)) || name == FORWARDED
    };
    let is_claim = |name: &&HeaderName| is_forwarded(name) || !is_unmistakable(name);
    let claims: Vec<HeaderName> = headers.keys().filter(is_claim).cloned().collect();
    // With compressed messages, the gateway could no longer detect input.
    let compression = SEC_WEBSOCKET_EXTENSIONS;
    for name in claims.iter().chain(&[AUTHORIZATION, COOKIE, HeaderName::from_static("x-real-ip"), compression]) {
        headers.remove(name);
    }
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    };
    set("x-forwarded-for", &client.address.to_string());
    set("x-forwarded-proto", client.scheme);
    set("x-forwarded-host", client.authority);
    set("host", client.authority);
    if let Some(cookies) = cookies {
        set("cookie", &cookies);
    }
    if let Some(protocol) = &upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    upgrade
}

/// Whether no server confuses this name with another. Behind CGI, WSGI and the like, `x_forwarded_for` and
/// `x.forwarded.for` are the same as `x-forwarded-for`: all characters but letters and digits become one there ([RFC
/// 3875, 4.1.18]).
///
/// [RFC 3875, 4.1.18]: https://www.rfc-editor.org/rfc/rfc3875#section-4.1.18
fn is_unmistakable(name: &HeaderName) -> bool {
    name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The protocol that a request asks to switch to.
fn requested_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(UPGRADE).filter(|_| is_upgrade(headers)).cloned()
}

/// Headers that a desktop may not send, because they affect more than its own pages: all cookies of the domain, other
/// addresses for the host, where browsers report to, and workers. Nor may it make the browser ask for a password: users
/// would type their company password, and it would never reach the desktop. A proxy that goes to desktops itself has to
/// remove the same headers: see docs/forward-auth.md.
const NOT_FOR_DESKTOPS: [HeaderName; 8] = [
    HeaderName::from_static("alt-svc"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("www-authenticate"),
];

/// Turns a desktop's answer into one of this gateway.
pub fn clean_answer(headers: &mut HeaderMap, changes_protocol: bool) {
    let protocol = headers.get(UPGRADE).filter(|_| changes_protocol).cloned();
    remove_hop_by_hop(headers);
    for name in &NOT_FOR_DESKTOPS {
        headers.remove(name);
    }
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    // A desktop is under its user's control, so it must not set or delete this gateway's cookies.
    let is_ours = |value: &HeaderValue| value.to_str().map_or(true, cookie::is_ours);
    let theirs: Vec<_> = headers.get_all(SET_COOKIE).iter().filter(|value| !is_ours(value)).cloned().collect();
    headers.remove(SET_COOKIE);
    for value in theirs {
        headers.append(SET_COOKIE, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    // Only this gateway's own page may frame the desktop.
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'self'"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    // In a tab, the same address is answered with the page around the desktop.
    headers.append(VARY, HeaderValue::from_static("Sec-Fetch-Dest"));
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION).filter_map(|token| token.parse().ok()).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Client = Client {
        address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
        scheme: "https",
        authority: "alice.vdi.example.com:8443",
    };

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    const SET_ANEW: [&str; 4] = [
        "host: alice.vdi.example.com:8443",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: alice.vdi.example.com:8443",
        "x-forwarded-proto: https",
    ];

    #[test]
    fn a_desktop_gets_no_credentials_and_no_lies_about_where_a_request_came_from() {
        let mut request = headers(&[
            ("accept", "*/*"),
            ("authorization", "Bearer secret"),
            ("cookie", "__Host-vdi-session=secret"),
            ("cookie", "novnc=1; __Host-vdi-login=secret"),
            ("forwarded", "for=10.0.0.1"),
            ("host", "evil.example.com"),
            ("proxy-authorization", "Basic secret"),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-user", "root"),
            ("x-real-ip", "10.0.0.1"),
            ("x-vdi-user", "root"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-forwarded_user", "root"),
            ("x.forwarded.user", "root"),
            ("remote_user", "root"),
            ("cookie_", "a"),
        ]);
        assert_eq!(clean_request(&mut request, &CLIENT), None);
        let mut expected = vec!["accept: */*", "cookie: novnc=1"];
        expected.extend(SET_ANEW);
        assert_eq!(shown(&request), expected);
    }

    #[test]
    fn hop_by_hop_headers_are_not_passed_on_nor_those_that_connection_names() {
        let mut request = headers(&[
            ("connection", "keep-alive, X-Secret"),
            ("connection", "te"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-secret", "1"),
        ]);
        assert_eq!(clean_request(&mut request, &CLIENT), None, "it doesn't ask to upgrade");
        assert_eq!(shown(&request), SET_ANEW);
    }

    #[test]
    fn a_requested_upgrade_is_passed_on() {
        let mut request = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(clean_request(&mut request, &CLIENT).unwrap(), "websocket");
        let mut expected = vec!["connection: upgrade"];
        expected.extend(SET_ANEW);
        expected.insert(2, "upgrade: websocket");
        assert_eq!(shown(&request), expected);
    }

    #[test]
    fn a_desktop_sets_its_own_cookies_and_never_this_gateways() {
        let mut answer = headers(&[
            ("content-security-policy", "default-src 'self'"),
            ("set-cookie", "novnc=1; Path=/"),
            ("set-cookie", "__Host-vdi-session=stolen; Path=/; Secure"),
            ("set-cookie", " __host-VDI-login=; Max-Age=0"),
            ("clear-site-data", "\"cookies\""),
            ("alt-svc", "h3=\"evil.com:443\""),
            ("service-worker-allowed", "/"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-frame-options", "DENY"),
            ("www-authenticate", "Basic realm=\"Example Inc. single sign-on\""),
        ]);
        clean_answer(&mut answer, false);
        let expected = [
            "content-security-policy: default-src 'self'",
            "content-security-policy: frame-ancestors 'self'",
            "referrer-policy: same-origin",
            "set-cookie: novnc=1; Path=/",
            "vary: Sec-Fetch-Dest",
            "x-content-type-options: nosniff",
            "x-frame-options: SAMEORIGIN",
        ];
        assert_eq!(shown(&answer), expected);
    }

    /// The sample configurations, each with its name and without comments.
    fn samples() -> Vec<(String, String)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/forward-auth");
        let samples = std::fs::read_dir(folder).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
            (path.file_name().unwrap().to_string_lossy().into_owned(), lines.join("\n").to_lowercase())
        });
        samples.collect()
    }

    #[test]
    fn a_proxy_that_goes_to_desktops_itself_removes_what_this_gateway_removes() {
        let samples = samples();
        assert_eq!(samples.len(), 4);
        for (name, text) in samples {
            // This header of the answer says where the desktop is. A proxy that ignores it sends everything through the
            // gateway.
            let mut naming = text.lines().filter(|line| line.replace('_', "-").contains("x-vdi-upstream"));
            if naming.any(|line| !line.contains("- remove:")) {
                assert_eq!(name, "nginx.conf", "how does it remove headers?");
                let (_, location) = text.split_once("location @desktop {").unwrap();
                let (location, _) = location.split_once("\n    }").unwrap();
                let hidden: Vec<&str> = location
                    .lines()
                    .filter_map(|line| line.trim().strip_prefix("proxy_hide_header ")?.strip_suffix(';'))
                    .collect();
                let passed: Vec<_> =
                    NOT_FOR_DESKTOPS.into_iter().filter(|name| !hidden.contains(&name.as_str())).collect();
                assert!(passed.is_empty(), "deploy/forward-auth/{name} has to hide {passed:?} in `location @desktop`");
                assert!(!text.contains("underscores_in_headers on") && !text.contains("ignore_invalid_headers off"));
            }
        }
    }
}
