//! Whose page made a request: by headers that browsers set and pages can't change.
//!
//! The `SameSite` attribute of cookies does not distinguish the desktops' hosts, because all of them are one site.

use http::{
    HeaderMap, HeaderName, Method,
    header::{CONNECTION, ORIGIN, UPGRADE},
};

/// Whether a page of another origin than `own` made the browser send this request, except by a link that somebody
/// followed. Judged by [`Origin`] and by [fetch metadata], if the browser sends them.
///
/// A request to switch protocols, such as for a websocket, must have an `Origin`: browsers always send it.
///
/// [`Origin`]: https://www.rfc-editor.org/rfc/rfc6454#section-7
/// [fetch metadata]: https://www.w3.org/TR/fetch-metadata/
pub fn is_cross_origin(method: &Method, headers: &HeaderMap, own: &str) -> bool {
    let matches_origin = matches_origin(headers, own);
    if is_upgrade(headers) {
        return matches_origin != Some(true);
    }
    let site = fetch_metadata(headers, "site");
    let is_foreign = matches_origin == Some(false) || site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    is_foreign && !is_page(method, headers)
}

/// Whether the browser says that a page of this very origin made the request. For requests that other pages must not
/// even send blindly: a browser that says nothing, as those before 2023 do, may be showing anybody's page.
pub fn is_from_own_page(headers: &HeaderMap, own: &str) -> bool {
    match (matches_origin(headers, own), fetch_metadata(headers, "site")) {
        (Some(false), _) => false,
        (_, Some(site)) => site == "same-origin",
        (matches_origin, None) => matches_origin == Some(true),
    }
}

/// Whether [`ORIGIN`] is `own`. Of two values, neither counts.
fn matches_origin(headers: &HeaderMap, own: &str) -> Option<bool> {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => None,
        (Some(origin), None) => Some(origin.as_bytes() == own.as_bytes()),
        (Some(_), Some(_)) => Some(false),
    }
}

/// Whether a site other than this gateway's (with its desktops) sent the browser here.
pub fn is_cross_site(headers: &HeaderMap) -> bool {
    fetch_metadata(headers, "site") == Some("cross-site")
}

/// Whether the request is for a page in a tab or a window. It is answered with one of the gateway's own pages, not with
/// what the desktop has at this address.
pub fn is_page(method: &Method, headers: &HeaderMap) -> bool {
    let is_navigation =
        fetch_metadata(headers, "mode") == Some("navigate") && fetch_metadata(headers, "dest") == Some("document");
    method == Method::GET && is_navigation && !is_upgrade(headers)
}

/// Whether the request is for the script of a [service worker]. A worker would outlive the session, in a browser that
/// may return to the host for another session, and would see its requests before this gateway does.
///
/// [service worker]: https://w3c.github.io/ServiceWorker/#service-worker-script-request
pub fn is_service_worker(headers: &HeaderMap) -> bool {
    headers.contains_key("service-worker") || fetch_metadata(headers, "dest") == Some("serviceworker")
}

/// Whether the request asks to switch to another protocol: [RFC 9110, 7.8].
///
/// [RFC 9110, 7.8]: https://www.rfc-editor.org/rfc/rfc9110#section-7.8
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// The elements of a comma-separated list, which may be spread over several headers.
pub fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn fetch_metadata<'a>(headers: &'a HeaderMap, what: &str) -> Option<&'a str> {
    headers.get(format!("sec-fetch-{what}")).map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://alice.vdi.example.com";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn is_foreign(method: Method, pairs: &[(&'static str, &'static str)]) -> bool {
        is_cross_origin(&method, &headers(pairs), OWN)
    }

    const UPGRADE: [(&str, &str); 2] = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];

    #[test]
    fn a_websocket_has_to_come_from_exactly_the_hosts_own_page() {
        assert!(!is_foreign(Method::GET, &[UPGRADE[0], UPGRADE[1], ("origin", OWN)]));
        assert!(is_foreign(Method::GET, &UPGRADE), "it doesn't say");
        assert!(is_foreign(Method::GET, &[UPGRADE[0], UPGRADE[1], ("origin", OWN), ("origin", OWN)]));
        for origin in [
            "",
            "null",
            "https://evil.com",
            "https://bob.vdi.example.com",
            "https://vdi.example.com",
            "http://alice.vdi.example.com",
            "https://alice.vdi.example.com:8443",
            "https://alice.vdi.example.com.evil.com",
            "HTTPS://alice.vdi.example.com",
        ] {
            assert!(is_foreign(Method::GET, &[UPGRADE[0], UPGRADE[1], ("origin", origin)]), "{origin:?}");
        }
    }

    #[test]
    fn another_desktops_page_can_send_no_request_in_its_visitors_name() {
        for site in ["same-site", "cross-site", "something-new"] {
            for method in [Method::GET, Method::POST] {
                assert!(is_foreign(method, &[("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")]), "{site}");
            }
            let navigation = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            assert!(!is_foreign(Method::GET, &navigation), "a link is followed");
            assert!(is_foreign(Method::POST, &navigation), "a form is sent");
            let framed = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
            assert!(is_foreign(Method::GET, &framed), "held in a frame");
        }
        assert!(is_foreign(Method::POST, &[("origin", "https://bob.vdi.example.com")]), "an older browser");
    }

    #[test]
    fn only_a_request_that_says_so_is_from_the_own_page() {
        let is_own = |pairs: &[(&'static str, &'static str)]| is_from_own_page(&headers(pairs), OWN);
        assert!(is_own(&[("sec-fetch-site", "same-origin")]));
        assert!(is_own(&[("origin", OWN)]));
        assert!(is_own(&[("origin", OWN), ("sec-fetch-site", "same-origin")]));
        assert!(!is_own(&[]), "no browser, or an old one");
        for site in ["same-site", "cross-site", "none", ""] {
            assert!(!is_own(&[("sec-fetch-site", site)]), "{site}");
            assert!(!is_own(&[("sec-fetch-site", site), ("origin", OWN)]), "{site}");
        }
        assert!(!is_own(&[("sec-fetch-site", "same-origin"), ("origin", "https://bob.vdi.example.com")]));
        assert!(!is_own(&[("origin", OWN), ("origin", OWN)]));
    }

    #[test]
    fn only_another_site_than_ours_is_cross_site() {
        for (site, expected) in [("cross-site", true), ("same-site", false), ("same-origin", false), ("none", false)] {
            assert_eq!(is_cross_site(&headers(&[("sec-fetch-site", site)])), expected, "{site}");
        }
        assert!(!is_cross_site(&HeaderMap::new()));
    }

    #[test]
    fn a_service_worker_script_is_recognized_by_either_header() {
        assert!(is_service_worker(&headers(&[("service-worker", "script")])));
        assert!(is_service_worker(&headers(&[("sec-fetch-dest", "serviceworker")])));
        assert!(!is_service_worker(&headers(&[("sec-fetch-dest", "worker")])));
    }

    #[test]
    fn the_hosts_own_page_and_a_typed_address_are_not_cross_origin() {
        for site in ["same-origin", "none"] {
            assert!(!is_foreign(Method::POST, &[("sec-fetch-site", site), ("origin", OWN)]));
            assert!(!is_foreign(Method::GET, &[("sec-fetch-site", site)]));
        }
        assert!(!is_foreign(Method::GET, &[]), "no browser, or an old one");
    }
}
