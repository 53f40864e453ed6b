//! Why a request is refused, and what its sender learns about that: only as much as helps them.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};

use super::access_log::LogFields;
use crate::{
    access::DenyReason,
    pages::{Link, Message, page, text},
    token::SignError,
};

#[derive(Debug)]
pub enum Refusal {
    /// The sender may not enter.
    Denied(DenyReason),
    /// A launch code that is invalid, expired or used.
    Code(DenyReason),
    /// The directory is too old to decide by.
    OutOfTouch,
    /// Too many requests to the API server or the provider are open.
    Busy,
    Sign(SignError),
    /// A sign-in failed for reasons that are in the log.
    SignInFailed,
    /// A message for the sender.
    Message(StatusCode, String),
}

impl From<SignError> for Refusal {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

impl Refusal {
    pub fn message(status: StatusCode, line: impl Into<String>) -> Self {
        Self::Message(status, line.into())
    }

    pub fn not_found() -> Self {
        Self::message(StatusCode::NOT_FOUND, "not found")
    }

    pub fn too_many_requests() -> Self {
        Self::message(StatusCode::TOO_MANY_REQUESTS, "too many requests to this desktop at once")
    }

    /// No script may become a service worker: neither a desktop's nor one of the gateway's own, which a desktop's page
    /// could register.
    pub fn service_worker() -> Self {
        Self::message(StatusCode::FORBIDDEN, "service workers are not allowed here")
    }

    /// For the metrics, if somebody was denied access.
    pub fn reason(&self) -> Option<DenyReason> {
        match self {
            Self::Denied(reason) | Self::Code(reason) => Some(*reason),
            _ => None,
        }
    }

    pub fn answer(self) -> Response {
        let fields = LogFields { refused: self.reason(), ..LogFields::default() };
        fields.attach(match self {
            Self::Denied(DenyReason::CrossOrigin) => {
                text(StatusCode::FORBIDDEN, "requests from another site's page are not allowed")
            }
            Self::Denied(DenyReason::NotTheOwner) => page(StatusCode::FORBIDDEN, &NOT_YOURS),
            Self::Denied(_) => page(StatusCode::UNAUTHORIZED, &SIGN_IN),
            Self::Code(_) => {
                let line = "A link works once, within a minute. Ask for a new one.";
                text(StatusCode::UNAUTHORIZED, line)
            }
            Self::OutOfTouch => page(StatusCode::SERVICE_UNAVAILABLE, &OUT_OF_TOUCH),
            Self::Busy => {
                let mut answer = page(StatusCode::SERVICE_UNAVAILABLE, &BUSY);
                // In seconds.
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
                answer
            }
            Self::Sign(error) => {
                tracing::error!(%error, "cannot sign a token");
                text(StatusCode::INTERNAL_SERVER_ERROR, "cannot sign a token")
            }
            Self::SignInFailed => page(StatusCode::BAD_GATEWAY, &SIGN_IN_FAILED),
            Self::Message(status, line) => text(status, &line),
        })
    }
}

const SIGN_IN: Message = Message {
    title: "Sign in first",
    text: "This address opens a desktop for its owner only. You need your own link, which works once, within a minute.",
    link: None,
};

const NOT_YOURS: Message =
    Message { title: "This is not your desktop", text: "Only its owner may open it.", link: None };

const SIGN_IN_FAILED: Message = Message {
    title: "Signing in failed",
    text: "Either the sign-in service had a problem, or you did not give your consent there. The gateway's log has the \
           details.",
    link: Some(Link { href: "/.vdi/sign-in", label: "Try again" }),
};

const OUT_OF_TOUCH: Message = Message {
    title: "Temporarily unavailable",
    text: "The gateway has lost touch with the cluster, so it can't check who may enter. Open desktops stay open. Try \
           again in a minute.",
    link: None,
};

const BUSY: Message = Message {
    title: "Too many people are signing in",
    text: "Open desktops stay open. Try again in a few seconds.",
    link: None,
};
