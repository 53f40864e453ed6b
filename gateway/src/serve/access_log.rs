//! The access log: one line for each request, without anything that could open a desktop. A query could, so it is left
//! out.

use std::{net::IpAddr, time::Duration};

use axum::{body::Body, response::Response};
use http::{Request, header::HOST};

use crate::access::DenyReason;

/// What an answer adds to the log.
#[derive(Clone, Debug, Default)]
pub struct LogFields {
    pub session: Option<String>,
    /// The person who was let in.
    pub user: Option<String>,
    /// Why somebody was not let in.
    pub refused: Option<DenyReason>,
}

impl LogFields {
    pub fn attach(self, mut answer: Response) -> Response {
        answer.extensions_mut().insert(self);
        answer
    }
}

/// The log entry of a request.
pub struct Entry {
    address: IpAddr,
    method: String,
    host: String,
    path: String,
    version: http::Version,
}

impl Entry {
    pub fn of(request: &Request<Body>, address: IpAddr) -> Self {
        let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = request.uri().authority().map(|authority| authority.as_str()).or(header);
        Self {
            address,
            method: request.method().to_string(),
            host: host.unwrap_or_default().to_owned(),
            path: request.uri().path().to_owned(),
            version: request.version(),
        }
    }

    pub fn log(&self, answer: &Response, took: Duration) {
        let fields = answer.extensions().get::<LogFields>().cloned().unwrap_or_default();
        tracing::info!(
            target: "access",
            client = %self.address,
            method = self.method,
            host = self.host,
            path = self.path,
            version = ?self.version,
            status = answer.status().as_u16(),
            milliseconds = took.as_millis() as u64,
            session = fields.session,
            user = fields.user,
            refused = fields.refused.map(|reason| format!("{reason:?}")),
        );
    }
}
