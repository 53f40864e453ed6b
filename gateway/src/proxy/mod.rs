//! Passes requests to desktops, and their answers back.

mod headers;
mod session_body;
#[cfg(test)]
mod tests;
mod tunnel;
mod visit;

use std::{sync::Arc, time::Duration};

use axum::body::{Body, HttpBody};
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, UPGRADE},
    uri::PathAndQuery,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;
use vdi_service::any_certificate;

use self::session_body::SessionBody;
use crate::{activity::Activity, metrics::Tunnels, sessions::Desktop};

pub use self::{headers::Client, visit::Visit};

/// A desktop is in the same cluster: it accepts a connection at once or not at all.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a silent desktop is probed (TCP keepalive). This also keeps the connection alive in firewalls along the
/// way.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// After this many unanswered probes the connection is broken.
const PROBES: u32 = 3;
/// How long a desktop may take to start its answer.
const ANSWER: Duration = Duration::from_secs(60);
/// The same for a request with a body, which has to be sent first.
const UPLOAD: Duration = Duration::from_secs(60 * 60);
/// How long an idle connection is kept for the next request of a page.
const IDLE: Duration = Duration::from_secs(30);

/// Passes requests on. Cheap to clone.
#[derive(Clone)]
pub struct Proxy {
    client: legacy::Client<HttpsConnector<HttpConnector>, Body>,
    activity: Arc<Activity>,
    tunnels: Tunnels,
}

/// Why a request could not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the desktop can't be reached: {0}")]
    Unreachable(#[source] legacy::Error),
    #[error("the desktop did not answer within {0:?}")]
    Slow(Duration),
    #[error("the request can't be sent to the desktop: {0}")]
    NotARequest(#[from] http::Error),
    #[error("the desktop switched to a protocol that was not asked for")]
    Protocol,
}

impl Proxy {
    /// Records input in `activity`, and counts connections and bytes in `tunnels`.
    pub fn new(activity: Arc<Activity>, tunnels: Tunnels) -> Result<Self, rustls::Error> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE));
        connector.set_keepalive_retries(Some(PROBES));
        // The same for unacknowledged data, which is otherwise resent for a quarter of an hour.
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(KEEPALIVE * (PROBES + 1)));
        connector.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_tls_config(any_certificate::client()?);
        let connector = tls.https_or_http().enable_http1().wrap_connector(connector);
        let mut client = legacy::Client::builder(TokioExecutor::new());
        client.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new());
        Ok(Self { client: client.build(connector), activity, tunnels })
    }

    /// Passes a request to a desktop. What it opens, such as a websocket, is cut once the session no longer permits it.
    pub async fn pass(
        &self,
        mut request: Request<Body>,
        desktop: &Desktop,
        client: &Client<'_>,
        visit: Visit,
    ) -> Result<Response<Body>, ProxyError> {
        let requested = headers::clean_request(request.headers_mut(), client);
        if let Some(authorization) = &desktop.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let browser = requested.is_some().then(|| hyper::upgrade::on(&mut request));
        *request.uri_mut() = uri(desktop, request.uri().path_and_query())?;
        *request.version_mut() = http::Version::HTTP_11;

        let patience = if request.body().is_end_stream() { ANSWER } else { UPLOAD };
        let answer = timeout(patience, self.client.request(request)).await.map_err(|_| ProxyError::Slow(patience))?;
        let mut answer = answer.map_err(ProxyError::Unreachable)?;
        let changes_protocol = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        if changes_protocol {
            let got = answer.headers().get(UPGRADE);
            let is_same = |requested: &HeaderValue| {
                got.is_some_and(|got| got.as_bytes().eq_ignore_ascii_case(requested.as_bytes()))
            };
            let (Some(browser), true) = (browser, requested.as_ref().is_some_and(is_same)) else {
                return Err(ProxyError::Protocol);
            };
            let (activity, tunnels) = (self.activity.clone(), self.tunnels.clone());
            tokio::spawn(tunnel::run(browser, hyper::upgrade::on(&mut answer), visit, activity, tunnels));
            headers::clean_answer(answer.headers_mut(), changes_protocol);
            return Ok(answer.map(Body::new));
        }
        headers::clean_answer(answer.headers_mut(), changes_protocol);
        Ok(answer.map(|body| Body::new(SessionBody::new(body, visit))))
    }
}

/// The same path at the desktop's address. Nothing else of the request decides where it goes.
fn uri(desktop: &Desktop, path: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
    let path = path.cloned().unwrap_or(PathAndQuery::from_static("/"));
    let scheme = if desktop.tls { "https" } else { "http" };
    Uri::builder().scheme(scheme).authority(desktop.address.to_string()).path_and_query(path).build()
}
