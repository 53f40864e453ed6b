//! The same decision for a gateway that is there already: [nginx' auth_request], [Envoy's ext_authz], [Traefik's
//! forwardAuth], [Caddy's forward_auth]. Each of them asks here about requests, and passes on what is answered with 200.
//! deploy/fronts has a sample for each, and docs/fronts.md says what is asked and answered.
//!
//! [nginx' auth_request]: https://nginx.org/en/docs/http/ngx_http_auth_request_module.html
//! [Envoy's ext_authz]: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter
//! [Traefik's forwardAuth]: https://doc.traefik.io/traefik/middlewares/http/forwardauth/
//! [Caddy's forward_auth]: https://caddyserver.com/docs/caddyfile/directives/forward_auth

use axum::{body::Body, extract::State, response::Response};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
    request::Parts,
};

use super::{Decided, Gateway, authority, no_worker, operations::Operations, pages::text};
use crate::{
    origin::{asks_to_upgrade, is_page, is_service_worker},
    session::{Desktop, Session},
    site::Site,
};

/// Where the desktop is, such as `http://10.1.2.3:6080`. Without, the front has to pass the request to this gateway.
const UPSTREAM: &str = "x-vdi-upstream";
/// Who was let in.
const USER: &str = "x-vdi-user";

pub async fn check(State(Operations { gateway, .. }): State<Operations>, request: Request<Body>) -> Response {
    let (host, head) = match asked(&gateway, request) {
        Ok(asked) => asked,
        Err((status, line)) => return text(status, line),
    };
    if is_service_worker(&head.headers) {
        return gateway.refuse(no_worker());
    }
    match gateway.decide(&host, &head) {
        Ok(Decided::Pass { desktop, entry }) => {
            let scheme = if desktop.tls { "https" } else { "http" };
            let upstream =
                goes_direct(&head, &entry.session, &desktop).then(|| format!("{scheme}://{}", desktop.address));
            let mut answer = text(StatusCode::OK, "ok");
            for (name, value) in [(UPSTREAM, upstream), (USER, Some(entry.claims.sub.clone()))] {
                if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                    answer.headers_mut().insert(name, value);
                }
            }
            answer
        }
        // Fronts know of 401 and 403 alone. Either way, the gateway's own page at this host says more.
        Ok(Decided::Wait(_) | Decided::Ended) => text(StatusCode::UNAUTHORIZED, "the desktop is not running"),
        Err(refusal) => gateway.refuse(refusal),
    }
}

/// What a front was asked, as if it had been asked here: at which host, and how.
fn asked(gateway: &Gateway, request: Request<Body>) -> Result<(String, Parts), (StatusCode, &'static str)> {
    let forwarded =
        |name| only(request.headers(), name).map_err(|TwoValues| (StatusCode::BAD_REQUEST, FORWARDED_TWICE));
    let (host, method) = (forwarded("x-forwarded-host")?, forwarded("x-forwarded-method")?);
    // Envoy asks with the very host and method that it was asked with.
    let host = host.or_else(|| authority(&request));
    let Some(Site::Desktop(host)) = host.and_then(|host| gateway.public.site(host)) else {
        return Err((StatusCode::MISDIRECTED_REQUEST, "that is no desktop's host"));
    };
    let method = method.map(str::parse::<Method>).transpose();
    let method = method.map_err(|_| (StatusCode::BAD_REQUEST, "x-forwarded-method is no method"))?;
    let (mut head, _) = request.into_parts();
    head.method = method.unwrap_or(head.method);
    restore_upgrade(&mut head.headers);
    Ok((host, head))
}

const FORWARDED_TWICE: &str = "x-forwarded-host and x-forwarded-method may be there once: the front has to set them in place of what a client sends";

struct TwoValues;

/// A header's only value; empty where it is no text. Of two, nobody can know which one is the front's.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, TwoValues> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(TwoValues),
        (value, None) => Ok(value.map(|value| value.to_str().unwrap_or_default())),
    }
}

/// A front doesn't pass the headers of one connection on, and says in another what they were. One that doesn't say so still
/// passes those on that every websocket has ([RFC 6455, 4.1]), and gets the stricter decision too.
///
/// [RFC 6455, 4.1]: https://www.rfc-editor.org/rfc/rfc6455#section-4.1
fn restore_upgrade(headers: &mut HeaderMap) {
    let said = headers.get("x-forwarded-upgrade").filter(|value| !value.is_empty()).cloned();
    let is_websocket = headers.contains_key(SEC_WEBSOCKET_KEY) || headers.contains_key(SEC_WEBSOCKET_VERSION);
    if let Some(protocol) = said.or(is_websocket.then_some(HeaderValue::from_static("websocket"))) {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Whether a front may pass it to the desktop itself. The rest has to go through this gateway: a page in a tab, which is the
/// gateway's own around the desktop, what people do at a desktop that ends when they do nothing, and everything at a desktop that
/// asks for a password, which only the gateway gives.
fn goes_direct(head: &Parts, session: &Session, desktop: &Desktop) -> bool {
    let is_for_the_front = match asks_to_upgrade(&head.headers) {
        true => session.idle_timeout.is_none(),
        false => !is_page(&head.method, &head.headers),
    };
    is_for_the_front && desktop.authorization.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::session;

    fn head(pairs: &[(&'static str, &'static str)]) -> Parts {
        let request = pairs.iter().fold(Request::get("/check"), |request, (name, value)| request.header(*name, *value));
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        restore_upgrade(&mut head.headers);
        head
    }

    #[test]
    fn a_websocket_is_known_by_what_a_front_says_and_by_what_it_passes_on() {
        for name in ["x-forwarded-upgrade", "sec-websocket-key", "sec-websocket-version"] {
            assert!(asks_to_upgrade(&head(&[(name, "websocket")]).headers), "{name}");
        }
        assert!(!asks_to_upgrade(&head(&[("x-forwarded-upgrade", "")]).headers));
        assert!(!asks_to_upgrade(&head(&[]).headers));
    }

    #[test]
    fn what_the_gateway_answers_or_has_to_hear_goes_through_it() {
        let open = session().desktop.unwrap();
        let watched = Session { idle_timeout: Some("1h".parse().unwrap()), ..session() };
        let unwatched = Session { idle_timeout: None, ..session() };
        let websocket = head(&[("x-forwarded-upgrade", "websocket")]);
        assert!(goes_direct(&websocket, &unwatched, &open));
        assert!(!goes_direct(&websocket, &watched, &open), "nobody else hears what somebody does");
        let page = head(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]);
        assert!(!goes_direct(&page, &unwatched, &open), "the page around the desktop");
        let framed = head(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]);
        assert!(goes_direct(&framed, &watched, &open));
        assert!(goes_direct(&head(&[]), &watched, &open));
        let asking = Desktop { authorization: Some(HeaderValue::from_static("Basic YTpi")), ..open };
        assert!(!goes_direct(&head(&[]), &watched, &asking), "nobody else has its password");
    }

    #[test]
    fn of_two_values_none_is_taken() {
        let twice = head(&[("x-forwarded-host", "a"), ("x-forwarded-host", "b")]);
        assert!(only(&twice.headers, "x-forwarded-host").is_err());
        assert!(only(&twice.headers, "x-forwarded-method").is_ok_and(|value| value.is_none()));
    }
}
