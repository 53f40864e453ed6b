//! The pages, by their templates.

use askama::Template;

use super::view::View;
use crate::sessions::Session;

/// A message, with an optional link.
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
    /// Where to go when the session is over.
    pub portal: &'a str,
}

/// The page around a running desktop.
#[derive(Template)]
#[template(path = "frame.html")]
pub struct Frame<'a> {
    pub session: &'a Session,
    /// The path of the desktop's own page, at the same host.
    pub path: &'a str,
}

/// The page that a launch link leads to.
#[derive(Template)]
#[template(path = "enter.html")]
pub struct Enter {
    /// Whether to ask before signing in.
    pub asks: bool,
}

/// Loads another page at once. With a redirect instead, browsers would treat that page as requested by the site that
/// led to this one.
#[derive(Template)]
#[template(path = "continue.html")]
pub struct Continue<'a> {
    pub to: &'a str,
}

/// The desktops of the person who is signed in.
#[derive(Template)]
#[template(path = "portal.html")]
pub struct Portal<'a> {
    pub email: &'a str,
    /// A [`SessionList`], as HTML.
    pub list: String,
}

#[derive(Template)]
#[template(path = "sessions.html")]
pub struct SessionList<'a> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{noon, session},
        pages::{
            policy::{POLICY, source},
            respond::{asset, html},
        },
    };

    #[test]
    fn what_users_write_is_escaped() {
        let session = Session { name: "<script>alert(1)</script>".to_owned(), ..session() };
        let frame = Frame { session: &session, path: "/\"><script>" }.render().unwrap();
        let view = View::of(&session, None, noon());
        let waiting = Waiting { session: &session, view, portal: "" }.render().unwrap();
        let view = View::of(&session, None, noon());
        let list = html(&SessionList { rows: vec![Row::of(&session, view)] });
        for html in [frame, waiting, list] {
            assert!(!html.contains("<script>alert") && !html.contains("\"><script>"), "{html}");
        }
    }

    /// So that a connection that breaks while a page loads leaves the whole page or none of it.
    #[test]
    fn a_page_needs_no_other_file_and_its_policy_allows_its_scripts() {
        let session = session();
        let view = View::of(&session, None, noon());
        let pages = [
            Enter { asks: true }.render(),
            Frame { session: &session, path: "/" }.render(),
            Waiting { session: &session, view, portal: "" }.render(),
            Message { title: "", text: "", link: None }.render(),
            Continue { to: "" }.render(),
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
