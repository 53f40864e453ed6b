//! Answers of the gateway itself, with the security headers that all of them carry.

use askama::Template;
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};

use super::{assets::ICON, policy::POLICY};

/// A page. No other site may frame it, and nobody caches it.
pub fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => respond(status, "text/html; charset=utf-8", html),
        Err(error) => {
            tracing::error!(%error, "cannot render a page");
            text(StatusCode::INTERNAL_SERVER_ERROR, "this page can't be shown")
        }
    }
}

/// A part of a page.
pub fn html(template: &impl Template) -> String {
    template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "cannot render a part of a page");
        String::new()
    })
}

/// One line, for a script or a person without a browser.
pub fn text(status: StatusCode, line: &str) -> Response {
    respond(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// For a program.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    respond(status, "application/json", value.to_string())
}

pub fn redirect(to: &str) -> Response {
    let mut answer = text(StatusCode::SEE_OTHER, "");
    if let Ok(to) = HeaderValue::from_str(to) {
        answer.headers_mut().insert(LOCATION, to);
    }
    answer
}

/// A file of the pages, by its path below `/.vdi/`. Anybody may load it, so it also shows that the gateway is up.
pub fn asset(name: &str) -> Option<Response> {
    let mut answer = match name {
        "icon.svg" => respond(StatusCode::OK, "image/svg+xml", ICON),
        _ => return None,
    };
    // Short, so that the pages of a newer gateway soon get its own.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    Some(answer)
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut answer = (status, body.into()).into_response();
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (VARY, "Sec-Fetch-Dest"),
        (X_FRAME_OPTIONS, "SAMEORIGIN"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in headers {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    answer
}
