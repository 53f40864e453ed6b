//! Why a request is not answered as it was meant, and what is said instead: to people, as little as helps them.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};

use super::{
    access::About,
    pages::{Link, Message, page, text},
};
use crate::{decide::Why, token::SignError};

#[derive(Debug)]
pub enum Refusal {
    /// Who asks may not come in.
    Why(Why),
    /// What was shown is no code, or no longer.
    Code(Why),
    /// What is known is too old to tell who may.
    OutOfTouch,
    /// So much is asked of others already that this would be too much for them.
    Busy,
    Sign(SignError),
    /// Somebody could not be signed in, for reasons that are in the log.
    SignInFailed,
    /// What is said, as it is.
    Said(StatusCode, String),
}

impl From<SignError> for Refusal {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

impl Refusal {
    pub fn said(status: StatusCode, line: impl Into<String>) -> Self {
        Self::Said(status, line.into())
    }

    /// What it counts as, when somebody was kept out.
    pub fn why(&self) -> Option<Why> {
        match self {
            Self::Why(why) | Self::Code(why) => Some(*why),
            _ => None,
        }
    }

    pub fn answer(self) -> Response {
        let about = About { refused: self.why(), ..About::default() };
        about.put(match self {
            Self::Why(Why::CrossOrigin) => text(StatusCode::FORBIDDEN, "another site's page can't ask for this"),
            Self::Why(Why::NotTheOwner) => page(StatusCode::FORBIDDEN, &NOT_YOURS),
            Self::Why(_) => page(StatusCode::UNAUTHORIZED, &SIGN_IN),
            Self::Code(_) => {
                let line = "It works once, for a minute after it was made. Ask for a new one.";
                text(StatusCode::UNAUTHORIZED, line)
            }
            Self::OutOfTouch => page(StatusCode::SERVICE_UNAVAILABLE, &NOT_NOW),
            Self::Busy => {
                let mut answer = page(StatusCode::SERVICE_UNAVAILABLE, &BUSY);
                // In seconds.
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
                answer
            }
            Self::Sign(error) => {
                tracing::error!(%error, "a token can't be made");
                text(StatusCode::INTERNAL_SERVER_ERROR, "a token can't be made")
            }
            Self::SignInFailed => page(StatusCode::BAD_GATEWAY, &SIGN_IN_FAILED),
            Self::Said(status, line) => text(status, &line),
        })
    }
}

const SIGN_IN: Message = Message {
    title: "Sign in first",
    text: "This address opens a desktop for its owner alone. You need a link of your own: it works once, for a minute.",
    link: None,
};

const NOT_YOURS: Message =
    Message { title: "This is not your desktop", text: "Only its owner may open it.", link: None };

const SIGN_IN_FAILED: Message = Message {
    title: "You could not be signed in",
    text: "The sign-in service did not answer as it should have, or you have not agreed there. The gateway's log says more.",
    link: Some(Link { href: "/.vdi/sign-in", label: "Try again" }),
};

const NOT_NOW: Message = Message {
    title: "Not now",
    text: "The gateway has lost touch with the cluster, so it can't tell who may come in. Desktops that are open stay \
           open. Try again in a minute.",
    link: None,
};

const BUSY: Message = Message {
    title: "Many are signing in just now",
    text: "Desktops that are open stay open. Try again in a few seconds.",
    link: None,
};
