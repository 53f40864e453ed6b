//! The same decision as for the gateway's own requests, for a proxy in front of it: [nginx' auth_request], [Envoy's
//! ext_authz], [Traefik's forwardAuth], [Caddy's forward_auth]. The proxy asks here about each request, and passes it
//! on if the answer is 200. deploy/forward-auth has a sample for each, and docs/forward-auth.md describes request and
//! answer.
//!
//! [nginx' auth_request]: https://nginx.org/en/docs/http/ngx_http_auth_request_module.html
//! [Envoy's ext_authz]: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter
//! [Traefik's forwardAuth]: https://doc.traefik.io/traefik/middlewares/http/forwardauth/
//! [Caddy's forward_auth]: https://caddyserver.com/docs/caddyfile/directives/forward_auth

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
    request::Parts,
};

use crate::{
    pages::text,
    request::{
        Site, authority,
        origin::{is_page, is_service_worker, is_upgrade},
    },
    serve::{
        gateway::{Access, Gateway},
        refusal::Refusal,
    },
    sessions::{Desktop, Session},
};

/// Where the desktop is, such as `http://10.1.2.3:6080`. Without it, the proxy must pass the request to this gateway.
const UPSTREAM: &str = "x-vdi-upstream";
/// The person who was let in.
const USER: &str = "x-vdi-user";

pub fn check(gateway: &Gateway, request: Request<Body>) -> Response {
    let (host, head) = match original(gateway, request) {
        Ok(original) => original,
        Err((status, line)) => return text(status, line),
    };
    if is_service_worker(&head.headers) {
        return gateway.refuse(Refusal::service_worker());
    }
    match gateway.authorize(&host, &head) {
        Ok(Access::Pass { desktop, visitor }) => {
            let scheme = if desktop.tls { "https" } else { "http" };
            let upstream =
                may_bypass(&head, &visitor.session, &desktop).then(|| format!("{scheme}://{}", desktop.address));
            let mut answer = text(StatusCode::OK, "ok");
            for (name, value) in [(UPSTREAM, upstream), (USER, Some(visitor.claims.sub.clone()))] {
                if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                    answer.headers_mut().insert(name, value);
                }
            }
            answer
        }
        // Proxies handle only 401 and 403. In either case, the gateway's own page at this host says more.
        Ok(Access::Wait(_) | Access::Ended) => text(StatusCode::UNAUTHORIZED, "the desktop is not running"),
        Err(refusal) => gateway.refuse(refusal),
    }
}

/// The request that the proxy asks about, as if it had been sent here: its host and its head.
fn original(gateway: &Gateway, request: Request<Body>) -> Result<(String, Parts), (StatusCode, &'static str)> {
    let forwarded =
        |name| only(request.headers(), name).map_err(|TwoValues| (StatusCode::BAD_REQUEST, FORWARDED_TWICE));
    let (host, method) = (forwarded("x-forwarded-host")?, forwarded("x-forwarded-method")?);
    // Envoy asks with the host and the method of the original request.
    let host = host.or_else(|| authority(&request));
    let Some(Site::Desktop(host)) = host.and_then(|host| gateway.public.site(host)) else {
        return Err((StatusCode::MISDIRECTED_REQUEST, "not the host of a desktop"));
    };
    let method = method.map(str::parse::<Method>).transpose();
    let method = method.map_err(|_| (StatusCode::BAD_REQUEST, "x-forwarded-method is not a method"))?;
    let (mut head, _) = request.into_parts();
    head.method = method.unwrap_or(head.method);
    restore_upgrade(&mut head.headers);
    Ok((host, head))
}

const FORWARDED_TWICE: &str =
    "x-forwarded-host and x-forwarded-method must not be repeated: the proxy has to replace those that a client sends";

struct TwoValues;

/// A header's only value; empty if it is no text. Of two values, nobody can know which one is the proxy's.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, TwoValues> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(TwoValues),
        (value, None) => Ok(value.map(|value| value.to_str().unwrap_or_default())),
    }
}

/// Proxies don't pass on hop-by-hop headers, and should forward the original `Upgrade` under another name. One that
/// doesn't still passes on headers that every websocket request has ([RFC 6455, 4.1]), which get the stricter decision
/// too.
///
/// [RFC 6455, 4.1]: https://www.rfc-editor.org/rfc/rfc6455#section-4.1
fn restore_upgrade(headers: &mut HeaderMap) {
    let forwarded = headers.get("x-forwarded-upgrade").filter(|value| !value.is_empty()).cloned();
    let is_websocket = headers.contains_key(SEC_WEBSOCKET_KEY) || headers.contains_key(SEC_WEBSOCKET_VERSION);
    if let Some(protocol) = forwarded.or(is_websocket.then_some(HeaderValue::from_static("websocket"))) {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Whether the proxy may pass the request to the desktop directly. These have to go through this gateway: pages in a
/// tab, which get the gateway's page around the desktop; websockets of a session that ends when idle, in which the
/// gateway detects input; and everything at a desktop that asks for a password, which only the gateway knows.
fn may_bypass(head: &Parts, session: &Session, desktop: &Desktop) -> bool {
    let may_bypass = match is_upgrade(&head.headers) {
        true => session.idle_timeout.is_none(),
        false => !is_page(&head.method, &head.headers),
    };
    may_bypass && desktop.authorization.is_none()
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
    fn a_websocket_is_known_by_what_a_proxy_says_and_by_what_it_passes_on() {
        for name in ["x-forwarded-upgrade", "sec-websocket-key", "sec-websocket-version"] {
            assert!(is_upgrade(&head(&[(name, "websocket")]).headers), "{name}");
        }
        assert!(!is_upgrade(&head(&[("x-forwarded-upgrade", "")]).headers));
        assert!(!is_upgrade(&head(&[]).headers));
    }

    #[test]
    fn what_the_gateway_answers_or_reads_goes_through_it() {
        let open = session().desktop.unwrap();
        let watched = Session { idle_timeout: Some("1h".parse().unwrap()), ..session() };
        let unwatched = Session { idle_timeout: None, ..session() };
        let websocket = head(&[("x-forwarded-upgrade", "websocket")]);
        assert!(may_bypass(&websocket, &unwatched, &open));
        assert!(!may_bypass(&websocket, &watched, &open), "nobody else detects input");
        let page = head(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]);
        assert!(!may_bypass(&page, &unwatched, &open), "the page around the desktop");
        let framed = head(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]);
        assert!(may_bypass(&framed, &watched, &open));
        assert!(may_bypass(&head(&[]), &watched, &open));
        let asking = Desktop { authorization: Some(HeaderValue::from_static("Basic YTpi")), ..open };
        assert!(!may_bypass(&head(&[]), &watched, &asking), "nobody else has its password");
    }

    #[test]
    fn a_repeated_header_is_refused() {
        let twice = head(&[("x-forwarded-host", "a"), ("x-forwarded-host", "b")]);
        assert!(only(&twice.headers, "x-forwarded-host").is_err());
        assert!(only(&twice.headers, "x-forwarded-method").is_ok_and(|value| value.is_none()));
    }
}
