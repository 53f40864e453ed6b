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

use super::assets::POLICY;
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

pub(super) fn own(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut answer = (status, body.into()).into_response();
    let headers = [
        (CONTENT_TYPE, kind),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{noon, session},
        serve::assets::{asset, source},
    };

    #[test]
    fn what_users_have_written_stays_text() {
        let session = Session { name: "<script>alert(1)</script>".to_owned(), ..session() };
        let frame = Frame { session: &session, path: "/\"><script>" }.render().unwrap();
        let view = View::of(&session, None, noon());
        let waiting = Waiting { session: &session, view, portal: "" }.render().unwrap();
        let view = View::of(&session, None, noon());
        let list = html(&Sessions { rows: vec![Row::of(&session, view)] });
        for html in [frame, waiting, list] {
            assert!(!html.contains("<script>alert") && !html.contains("\"><script>"), "{html}");
        }
    }

    /// Whose connection breaks while a page loads has the whole page or none of it.
    #[test]
    fn a_page_asks_for_nothing_that_it_could_not_do_without_and_runs_what_its_policy_names() {
        let session = session();
        let view = View::of(&session, None, noon());
        let pages = [
            Enter { asks: true }.render(),
            Frame { session: &session, path: "/" }.render(),
            Waiting { session: &session, view, portal: "" }.render(),
            Message { title: "", text: "", link: None }.render(),
            Onward { to: "" }.render(),
            Portal { email: "", list: String::new() }.render(),
        ];
        let policy = POLICY.to_str().unwrap();
        for html in pages.map(Result::unwrap) {
            let asked: Vec<_> = html.split("<link ").skip(1).filter_map(|link| link.split('>').next()).collect();
            assert_eq!(asked, ["rel=\"icon\" href=\"/.vdi/icon.svg\""]);
            assert!(!html.contains(" src=") && asset("icon.svg").is_some(), "{html}");
            for element in ["script", "style"] {
                for part in html.split(&format!("<{element}>")).skip(1) {
                    let content = part.split(&format!("</{element}>")).next().unwrap();
                    assert!(policy.contains(&source(content)), "{policy} does not allow {content}");
                }
            }
        }
    }
}
