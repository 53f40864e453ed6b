//! The access log: a line a request, without anything that opens something. A query may, so it is left out.

use std::{net::IpAddr, time::Duration};

use axum::{body::Body, response::Response};
use http::{Request, header::HOST};

use crate::decide::Why;

/// What an answer says about itself, for the log.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub session: Option<String>,
    /// Who was let in.
    pub user: Option<String>,
    /// Why somebody was not.
    pub refused: Option<Why>,
}

impl About {
    pub fn put(self, mut answer: Response) -> Response {
        answer.extensions_mut().insert(self);
        answer
    }
}

pub struct Line {
    address: IpAddr,
    method: String,
    host: String,
    path: String,
    version: http::Version,
}

impl Line {
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

    pub fn write(&self, answer: &Response, took: Duration) {
        let about = answer.extensions().get::<About>().cloned().unwrap_or_default();
        tracing::info!(
            target: "access",
            client = %self.address,
            method = self.method,
            host = self.host,
            path = self.path,
            version = ?self.version,
            status = answer.status().as_u16(),
            milliseconds = took.as_millis() as u64,
            session = about.session,
            user = about.user,
            refused = about.refused.map(|why| format!("{why:?}")),
        );
    }
}
