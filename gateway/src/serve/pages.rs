//! The gateway's own pages, and how they are answered with.

use askama::Template;
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};

use crate::{session::Session, view::View};

/// Something to say, and perhaps where to go from there.
#[derive(Template)]
#[template(path = "message.html")]
pub struct Message<'a> {
    pub title: &'a str,
    pub text: &'a str,
    pub link: Option<Link<'a>>,
}

pub struct Link<'a> {
    pub href: &'a str,
    pub label: &'a str,
}

/// Shown while a desktop isn't running.
#[derive(Template)]
#[template(path = "waiting.html")]
pub struct Waiting<'a> {
    pub session: &'a Session,
    pub view: View,
    /// Where people go on from a session that is over.
    pub portal: &'a str,
}

/// Around a desktop that is.
#[derive(Template)]
#[template(path = "frame.html")]
pub struct Frame<'a> {
    pub session: &'a Session,
    /// Of the desktop's page, at the same host.
    pub path: &'a str,
}

/// Where a launch link leads.
#[derive(Template)]
#[template(path = "enter.html")]
pub struct Enter {
    /// Whether somebody has to say that they want to.
    pub asks: bool,
}

/// Goes on to another page at once. Where a redirect would do the same, browsers would take the next page for one that the page
/// before this one has sent them to.
#[derive(Template)]
#[template(path = "onward.html")]
pub struct Onward<'a> {
    pub to: &'a str,
}

/// The desktops of who has signed in.
#[derive(Template)]
#[template(path = "portal.html")]
pub struct Portal<'a> {
    pub email: &'a str,
    /// [`Sessions`], as HTML.
    pub list: String,
}

#[derive(Template)]
#[template(path = "sessions.html")]
pub struct Sessions<'a> {
    pub rows: Vec<Row<'a>>,
}

pub struct Row<'a> {
    session: &'a Session,
    view: View,
    left: String,
}

impl<'a> Row<'a> {
    pub fn of(session: &'a Session, view: View) -> Self {
        let left = view.ends_in.map(|seconds| match seconds / 60 {
            minutes @ ..60 => format!("{} min", minutes.max(0)),
            minutes => format!("{} h {} min", minutes / 60, minutes % 60),
        });
        Self { session, view, left: left.unwrap_or_default() }
    }
}

/// A piece of a page.
pub fn html(template: &impl Template) -> String {
    template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a part of a page can't be made");
        String::new()
    })
}

/// A page, which no other site may frame, and nobody keeps.
pub fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => own(status, "text/html; charset=utf-8", html),
        Err(error) => {
            tracing::error!(%error, "a page can't be made");
            text(StatusCode::INTERNAL_SERVER_ERROR, "this page can't be made")
        }
    }
}

/// A line for a script or a person without a browser.
pub fn text(status: StatusCode, line: &str) -> Response {
    own(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// For a program.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    own(status, "application/json", value.to_string())
}

fn own(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut answer = (status, body.into()).into_response();
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (VARY, "Sec-Fetch-Dest"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "SAMEORIGIN"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in headers {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Nothing but what is ours, and the desktop in its frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'self'";

/// What the pages are made with, by the last part of its path below `/.vdi/`.
pub fn asset(name: &str) -> Option<Response> {
    let (kind, content) = match name {
        "style.css" => ("text/css; charset=utf-8", include_str!("../../assets/style.css")),
        "icon.svg" => ("image/svg+xml", include_str!("../../assets/icon.svg")),
        "enter.js" => (SCRIPT, include_str!("../../assets/enter.js")),
        "frame.js" => (SCRIPT, include_str!("../../assets/frame.js")),
        "portal.js" => (SCRIPT, include_str!("../../assets/portal.js")),
        "waiting.js" => (SCRIPT, include_str!("../../assets/waiting.js")),
        _ => return None,
    };
    let mut answer = own(StatusCode::OK, kind, content);
    // Short, as a newer gateway's pages need the newer ones.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    Some(answer)
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{noon, session};

    #[test]
    fn what_users_have_written_stays_text() {
        let session = Session { name: "<script>alert(1)</script>".to_owned(), ..session() };
        let frame = Frame { session: &session, path: "/\"><script>" }.render().unwrap();
        let view = View::of(&session, None, noon());
        let waiting = Waiting { session: &session, view, portal: "" }.render().unwrap();
        let view = View::of(&session, None, noon());
        let list = html(&Sessions { rows: vec![Row::of(&session, view)] });
        for html in [frame, waiting, list] {
            assert!(!html.contains("<script>"), "{html}");
        }
    }

    #[test]
    fn every_part_that_a_page_asks_for_is_there() {
        let session = session();
        let view = View::of(&session, None, noon());
        let pages = [
            Enter { asks: true }.render(),
            Frame { session: &session, path: "/" }.render(),
            Waiting { session: &session, view, portal: "" }.render(),
            Message { title: "", text: "", link: None }.render(),
            Portal { email: "", list: String::new() }.render(),
        ];
        for html in pages.map(Result::unwrap) {
            let names = ["src=\"/.vdi/", "<link rel=\"stylesheet\" href=\"/.vdi/", "<link rel=\"icon\" href=\"/.vdi/"];
            let parts = names.iter().flat_map(|name| html.split(*name).skip(1));
            for name in parts.filter_map(|part| part.split('"').next()) {
                assert!(asset(name).is_some(), "{name}");
            }
        }
    }
}
