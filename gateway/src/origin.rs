//! Whose page is behind a request: what browsers say about that, and pages can't change.
//!
//! A cookie's `SameSite` doesn't tell one desktop's host from another's, as all of them are one site.

use http::{
    HeaderMap, HeaderName, Method,
    header::{CONNECTION, ORIGIN, UPGRADE},
};

/// Whether a page of another origin than `own` has made the browser ask this, other than by a link that somebody follows.
/// By [`Origin`], and by [fetch metadata], where a browser sends them.
///
/// A request for another protocol, such as a websocket, has to say where it comes from: browsers do with each.
///
/// [`Origin`]: https://www.rfc-editor.org/rfc/rfc6454#section-7
/// [fetch metadata]: https://www.w3.org/TR/fetch-metadata/
pub fn is_from_elsewhere(method: &Method, headers: &HeaderMap, own: &str) -> bool {
    let says_own = says_own(headers, own);
    if asks_to_upgrade(headers) {
        return says_own != Some(true);
    }
    let site = fetch(headers, "site");
    let is_foreign = says_own == Some(false) || site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    is_foreign && !is_page(method, headers)
}

/// Whether the browser says that a page of this very origin asks. For what may not even be asked for in vain: a browser that
/// says nothing, as those before 2023 do, may be at anybody's page.
pub fn is_from_own_page(headers: &HeaderMap, own: &str) -> bool {
    match (says_own(headers, own), fetch(headers, "site")) {
        (Some(false), _) => false,
        (_, Some(site)) => site == "same-origin",
        (says_own, None) => says_own == Some(true),
    }
}

/// What [`ORIGIN`] says about it. Of two, neither is believed.
fn says_own(headers: &HeaderMap, own: &str) -> Option<bool> {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => None,
        (Some(origin), None) => Some(origin.as_bytes() == own.as_bytes()),
        (Some(_), Some(_)) => Some(false),
    }
}

/// Whether another site than this gateway's, its desktops' included, has sent the browser here.
pub fn is_cross_site(headers: &HeaderMap) -> bool {
    fetch(headers, "site") == Some("cross-site")
}

/// Whether a page of its own is asked for, in a tab or a window. The answer is one of the gateway's own pages, rather than what
/// a desktop has at the address.
pub fn is_page(method: &Method, headers: &HeaderMap) -> bool {
    let is_navigation = fetch(headers, "mode") == Some("navigate") && fetch(headers, "dest") == Some("document");
    method == Method::GET && is_navigation && !asks_to_upgrade(headers)
}

/// Whether it is the script of a [service worker]. One would outlive the session, in a browser that may come back to the host for
/// another one, and would be asked before this gateway is.
///
/// [service worker]: https://w3c.github.io/ServiceWorker/#service-worker-script-request
pub fn is_service_worker(headers: &HeaderMap) -> bool {
    headers.contains_key("service-worker") || fetch(headers, "dest") == Some("serviceworker")
}

/// Whether it is asked to change to another protocol: [RFC 9110, 7.8].
///
/// [RFC 9110, 7.8]: https://www.rfc-editor.org/rfc/rfc9110#section-7.8
pub fn asks_to_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// The members of a list that may be spread over several headers.
pub fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn fetch<'a>(headers: &'a HeaderMap, what: &str) -> Option<&'a str> {
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
        is_from_elsewhere(&method, &headers(pairs), OWN)
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
    fn another_desktops_page_can_ask_for_nothing_in_its_visitors_name() {
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
    fn only_who_says_so_is_an_own_page() {
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
    fn a_service_workers_script_is_known_by_either_of_what_browsers_say() {
        assert!(is_service_worker(&headers(&[("service-worker", "script")])));
        assert!(is_service_worker(&headers(&[("sec-fetch-dest", "serviceworker")])));
        assert!(!is_service_worker(&headers(&[("sec-fetch-dest", "worker")])));
    }

    #[test]
    fn the_hosts_own_page_and_what_somebody_types_is_not_from_elsewhere() {
        for site in ["same-origin", "none"] {
            assert!(!is_foreign(Method::POST, &[("sec-fetch-site", site), ("origin", OWN)]));
            assert!(!is_foreign(Method::GET, &[("sec-fetch-site", site)]));
        }
        assert!(!is_foreign(Method::GET, &[]), "no browser, or an old one");
    }
}
