//! A request passed to a desktop, and its answer back.

mod headers;
mod held;
#[cfg(test)]
mod tests;
mod tunnel;

use std::{sync::Arc, time::Duration};

use axum::body::{Body, HttpBody};
use http::{Request, Response, StatusCode, Uri, header::AUTHORIZATION, uri::PathAndQuery};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;
use vdi_service::any_certificate;

use crate::{
    activity::Activity,
    directory::Changes,
    metrics::Tunnels,
    session::{Desktop, Session},
    visitors::Visitor,
};

pub use headers::Client;

/// A desktop is in the same cluster: it is reached at once or not at all.
const CONNECT: Duration = Duration::from_secs(5);
/// A desktop that sends nothing for so long is asked whether it is still there, and again at such intervals (TCP keepalive). A firewall
/// in between that has forgotten the connection learns of it by that.
const SILENCE: Duration = Duration::from_secs(10);
/// So many questions without an answer, and the connection is taken for broken.
const QUESTIONS: u32 = 3;
/// How long a desktop may think about a request before its answer begins.
const ANSWER: Duration = Duration::from_secs(60);
/// The same for a request with a body, which has to be sent first.
const UPLOAD: Duration = Duration::from_secs(60 * 60);
/// Connections to desktops are kept for so long, for a page's next request.
const IDLE: Duration = Duration::from_secs(30);

/// Passes requests on. Cheap to clone.
#[derive(Clone)]
pub struct Proxy {
    client: legacy::Client<HttpsConnector<HttpConnector>, Body>,
    activity: Arc<Activity>,
    tunnels: Tunnels,
}

/// A session as it was when it was decided that a request may pass, and what it becomes.
#[derive(Debug)]
pub struct Visit {
    pub session: Arc<Session>,
    pub changes: Changes,
    /// Counts as long as what is opened is open.
    pub visitor: Visitor,
}

/// Why a request that may pass could not be passed.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the desktop can't be reached: {0}")]
    Unreachable(#[source] legacy::Error),
    #[error("the desktop did not answer within {0:?}")]
    Slow(Duration),
    #[error("this can't be asked of a desktop: {0}")]
    NotARequest(#[from] http::Error),
    #[error("the desktop changed to another protocol than it was asked for, or without being asked")]
    Protocol,
}

impl Proxy {
    /// One that tells `activity` of what people do, and counts what goes through `tunnels`.
    pub fn new(activity: Arc<Activity>, tunnels: Tunnels) -> Result<Self, rustls::Error> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(SILENCE));
        connector.set_keepalive_interval(Some(SILENCE));
        connector.set_keepalive_retries(Some(QUESTIONS));
        // The same for what is sent: else it is sent again for a quarter of an hour.
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(SILENCE * (QUESTIONS + 1)));
        connector.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_tls_config(any_certificate::client()?);
        let connector = tls.https_or_http().enable_http1().wrap_connector(connector);
        let mut client = legacy::Client::builder(TokioExecutor::new());
        client.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new());
        Ok(Self { client: client.build(connector), activity, tunnels })
    }

    /// Passes a request to a desktop. What it opens, such as a websocket, is cut once the session no longer is as it was.
    pub async fn pass(
        &self,
        mut request: Request<Body>,
        desktop: &Desktop,
        client: &Client<'_>,
        visit: Visit,
    ) -> Result<Response<Body>, ProxyError> {
        let asked = headers::clean_request(request.headers_mut(), client);
        if let Some(authorization) = &desktop.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let browser = asked.is_some().then(|| hyper::upgrade::on(&mut request));
        *request.uri_mut() = uri(desktop, request.uri().path_and_query())?;
        *request.version_mut() = http::Version::HTTP_11;

        let patience = if request.body().is_end_stream() { ANSWER } else { UPLOAD };
        let answer = timeout(patience, self.client.request(request)).await.map_err(|_| ProxyError::Slow(patience))?;
        let mut answer = answer.map_err(ProxyError::Unreachable)?;
        let changes_protocol = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        if changes_protocol {
            let got = answer.headers().get(http::header::UPGRADE);
            let same = |asked: &http::HeaderValue| {
                got.is_some_and(|got| got.as_bytes().eq_ignore_ascii_case(asked.as_bytes()))
            };
            let (Some(browser), true) = (browser, asked.as_ref().is_some_and(same)) else {
                return Err(ProxyError::Protocol);
            };
            let (activity, tunnels) = (self.activity.clone(), self.tunnels.clone());
            tokio::spawn(tunnel::run(browser, hyper::upgrade::on(&mut answer), visit, activity, tunnels));
            headers::clean_answer(answer.headers_mut(), changes_protocol);
            return Ok(answer.map(Body::new));
        }
        headers::clean_answer(answer.headers_mut(), changes_protocol);
        Ok(answer.map(|body| Body::new(held::Held::new(body, visit))))
    }
}

/// The same path at the desktop's address: nothing else of what was asked for says where it goes.
fn uri(desktop: &Desktop, path: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
    let path = path.cloned().unwrap_or(PathAndQuery::from_static("/"));
    let scheme = if desktop.tls { "https" } else { "http" };
    Uri::builder().scheme(scheme).authority(desktop.address.to_string()).path_and_query(path).build()
}
