//! Requests, answered: by the portal, or for one desktop.

mod access;
mod assets;
mod body;
pub mod certificate;
mod check;
mod desktop;
mod enter;
mod events;
mod idle;
mod launch;
mod limit;
pub mod listen;
pub mod operations;
mod pages;
mod portal;
mod refusal;
mod sign_in;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{body::Body, response::Response};
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{HOST, STRICT_TRANSPORT_SECURITY},
    request::Parts,
};
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;

use crate::{
    activity::Activity,
    cookie,
    decide::{Decision, Knock, decide},
    directory::{Changes, Directory},
    keys::Keys,
    launch::{Doorman, Once},
    metrics::Metrics,
    oidc::Provider,
    origin::{is_from_elsewhere, is_service_worker},
    proxy::Proxy,
    questions::Questions,
    session::{Desktop, Session},
    site::{PublicUrl, Scheme, Site},
    token::{Claims, Grant, KeyRing, SignError, sign},
    visitors::Visitors,
};

use self::{pages::text, refusal::Refusal};

/// Everything that answering takes.
pub struct Gateway {
    pub public: PublicUrl,
    pub directory: Arc<Directory>,
    pub keys: Keys,
    pub activity: Arc<Activity>,
    pub proxy: Proxy,
    /// Where people sign in; without, there are links alone.
    pub provider: Option<Provider>,
    pub doorman: Doorman,
    pub once: Once,
    /// For more time of sessions.
    pub client: Client,
    pub visitors: Visitors,
    pub questions: Questions,
    pub metrics: Arc<Metrics>,
    /// How old what is known may be.
    pub cache_limit: Duration,
    /// No two replicas have begun at the same nanosecond.
    pub began: Timestamp,
    /// True once this gateway is told to stop.
    pub stopping: watch::Receiver<bool>,
}

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub address: IpAddr,
    /// As in the request, with its port.
    pub authority: &'a str,
}

impl Gateway {
    /// Answers a browser.
    pub async fn answer(self: Arc<Self>, address: IpAddr, request: Request<Body>) -> Response {
        let (began, line) = (Instant::now(), access::Line::of(&request, address));
        let mut answer = self.route(address, request).await;
        if self.public.scheme() == Scheme::Https {
            let for_a_year = HeaderValue::from_static("max-age=31536000");
            answer.headers_mut().insert(STRICT_TRANSPORT_SECURITY, for_a_year);
        }
        line.write(&answer, began.elapsed());
        self.metrics.answered(answer.status(), began.elapsed());
        answer
    }

    async fn route(self: &Arc<Self>, address: IpAddr, request: Request<Body>) -> Response {
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "this method is not for you");
        }
        let Some(authority) = authority(&request).map(str::to_owned) else {
            return text(StatusCode::BAD_REQUEST, "a request is for one host, named once");
        };
        if is_service_worker(request.headers()) {
            return self.refuse(no_worker());
        }
        let asking = Asking { address, authority: &authority };
        let answered = match self.public.site(&authority) {
            Some(Site::Portal) => portal::answer(self.clone(), request).await,
            Some(Site::Desktop(host)) => desktop::answer(self, &host, asking, request).await,
            None => Err(Refusal::said(StatusCode::MISDIRECTED_REQUEST, "there is no such host here")),
        };
        answered.unwrap_or_else(|refusal| self.refuse(refusal))
    }

    fn refuse(&self, refusal: Refusal) -> Response {
        if let Some(why) = refusal.why() {
            self.metrics.refused(why);
        }
        refusal.answer()
    }

    /// What to do about a request to a desktop's host, and the session that has the host.
    fn decide(&self, host: &str, request: &Parts) -> Result<Decided, Refusal> {
        let keys = self.ring()?;
        let changes = self.directory.at(host);
        let session = changes.as_ref().map(|changes| changes.borrow().clone());
        let token = cookie::of(&request.headers, cookie::SESSION);
        let knock = Knock {
            host,
            token: token.as_deref(),
            is_from_elsewhere: is_from_elsewhere(&request.method, &request.headers, &self.public.origin_of(host)),
        };
        let decision = decide(&knock, session.as_deref(), &self.issuer(), &keys, Timestamp::now());
        let visit = session.zip(changes);
        Ok(match (decision, visit) {
            (Decision::Pass { desktop, claims }, Some((session, changes))) => {
                Decided::Pass { desktop, entry: Entry { claims, session, changes } }
            }
            (Decision::Wait { claims }, Some((session, changes))) => Decided::Wait(Entry { claims, session, changes }),
            (Decision::SignIn(why) | Decision::Forbid(why), _) => return Err(Refusal::Why(why)),
            _ => Decided::Ended,
        })
    }

    /// The keys, while what is known may be relied on.
    fn ring(&self) -> Result<Arc<KeyRing>, Refusal> {
        let is_known = self.directory.freshness.is_complete();
        let is_fresh = self.directory.freshness.age(Instant::now()) <= self.cache_limit;
        self.keys.ring().filter(|_| is_known && is_fresh).ok_or(Refusal::OutOfTouch)
    }

    fn issuer(&self) -> String {
        self.public.to_string()
    }

    fn sign(&self, grant: &Grant, keys: &KeyRing) -> Result<String, SignError> {
        sign(grant, keys, &self.keys.schedule, Timestamp::now())
    }
}

/// A [`Decision`] that lets somebody in, with the session that it is about.
enum Decided {
    Pass { desktop: Desktop, entry: Entry },
    Wait(Entry),
    Ended,
}

/// Who was let in where.
struct Entry {
    claims: Box<Claims>,
    /// As it was when that was decided; it may be another one by now.
    session: Arc<Session>,
    changes: Changes,
}

impl Entry {
    /// Not of somebody who was let in to help.
    fn is_the_owners(&self) -> bool {
        self.claims.sub.parse().is_ok_and(|subject| self.session.owner.is_same_person(&subject))
    }
}

/// Nothing here is for a worker: not a desktop's script, nor one of this gateway's own, which a desktop's page could make one.
fn no_worker() -> Refusal {
    Refusal::said(StatusCode::FORBIDDEN, "no page here can keep a worker in the browser")
}

/// The one host that a request names, in its target ([RFC 9110, 7.2]), in `Host`, or the same in both.
///
/// [RFC 9110, 7.2]: https://www.rfc-editor.org/rfc/rfc9110#section-7.2
fn authority(request: &Request<Body>) -> Option<&str> {
    let target = request.uri().authority().map(|authority| authority.as_str());
    let mut headers = request.headers().get_all(HOST).iter();
    let header = match (headers.next(), headers.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().ok()?),
        (Some(_), Some(_)) => return None,
    };
    match (target, header) {
        (Some(target), Some(header)) if target != header => None,
        (target, header) => target.or(header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_names_two_hosts_names_none() {
        let found = |target: &str, hosts: &[&str]| {
            let request = hosts.iter().fold(Request::get(target), |request, host| request.header(HOST, *host));
            authority(&request.body(Body::empty()).unwrap()).map(str::to_owned)
        };
        assert_eq!(found("/", &["a.example.com"]).as_deref(), Some("a.example.com"));
        assert_eq!(found("https://a.example.com/", &[]).as_deref(), Some("a.example.com"));
        assert_eq!(found("https://a.example.com/", &["a.example.com"]).as_deref(), Some("a.example.com"));
        assert_eq!(found("https://a.example.com/", &["b.example.com"]), None);
        assert_eq!(found("/", &["a.example.com", "a.example.com"]), None);
        assert_eq!(found("/", &[]), None);
    }
}
