//! The same decision for a gateway that is there already: [nginx' auth_request], [Envoy's ext_authz], [Traefik's
//! forwardAuth], [Caddy's forward_auth]. Each of them asks here about every request, and passes on what is answered with 200.
//!
//! [nginx' auth_request]: https://nginx.org/en/docs/http/ngx_http_auth_request_module.html
//! [Envoy's ext_authz]: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter
//! [Traefik's forwardAuth]: https://doc.traefik.io/traefik/middlewares/http/forwardauth/
//! [Caddy's forward_auth]: https://caddyserver.com/docs/caddyfile/directives/forward_auth

use axum::{body::Body, extract::State, response::Response};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use super::{Decided, authority, operations::Operations, pages::text};
use crate::site::Site;

/// Where the desktop is, such as `http://10.1.2.3:6080`.
const UPSTREAM: &str = "x-vdi-upstream";
/// Who was let in.
const USER: &str = "x-vdi-user";

pub async fn check(State(Operations { gateway, .. }): State<Operations>, request: Request<Body>) -> Response {
    // The front says what it was asked; Envoy asks the very same, here.
    let forwarded = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = forwarded("x-forwarded-host").or_else(|| authority(&request));
    let Some(Site::Desktop(host)) = host.and_then(|host| gateway.public.site(host)) else {
        return text(StatusCode::MISDIRECTED_REQUEST, "that is no desktop's host");
    };
    let method = forwarded("x-forwarded-method").and_then(|method| method.parse().ok()).unwrap_or(Method::GET);
    let (mut head, _) = request.into_parts();
    restore_upgrade(&mut head.headers);
    head.method = method;
    match gateway.decide(&host, &head) {
        Ok(Decided::Pass { desktop, entry }) => {
            let mut answer = text(StatusCode::OK, "ok");
            let scheme = if desktop.tls { "https" } else { "http" };
            for (name, value) in
                [(UPSTREAM, format!("{scheme}://{}", desktop.address)), (USER, entry.claims.sub.clone())]
            {
                if let Ok(value) = HeaderValue::from_str(&value) {
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

/// A front doesn't pass the headers of one connection on, and says in others what they were.
fn restore_upgrade(headers: &mut HeaderMap) {
    if let Some(protocol) = headers.get("x-forwarded-upgrade").filter(|value| !value.is_empty()).cloned() {
        headers.insert(http::header::UPGRADE, protocol);
        headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}
