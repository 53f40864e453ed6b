//! The state that all answers are made from, and the decision about a request to a desktop.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::response::Response;
use http::request::Parts;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use vdi_api::VDISession;
use vdi_service::{Aside, lenient::Custom};

use super::refusal::Refusal;
use crate::{
    access::{AccessRequest, ConcurrencyLimit, Decision, UpstreamLimits, decide},
    activity::Activity,
    kubernetes::{Authenticator, Keys, ReplayGuard},
    metrics::Metrics,
    oidc::Provider,
    pages::View,
    proxy::Proxy,
    request::{PublicUrl, cookie, origin::is_cross_origin},
    sessions::{Changes, Desktop, Directory, Session},
    token::{Claims, Grant, KeyRing, SignError, sign},
};

pub struct Gateway {
    pub public: PublicUrl,
    pub directory: Arc<Directory>,
    pub keys: Keys,
    pub activity: Arc<Activity>,
    pub proxy: Proxy,
    /// Where people sign in; without one, launch links are the only way in.
    pub provider: Option<Provider>,
    pub authenticator: Authenticator,
    pub replay_guard: ReplayGuard,
    /// For extending sessions.
    pub client: Client,
    /// The objects that this version can't parse.
    pub aside: Arc<Aside>,
    pub concurrency: ConcurrencyLimit,
    pub upstream: UpstreamLimits,
    pub metrics: Arc<Metrics>,
    /// How old the directory may be for new decisions.
    pub cache_limit: Duration,
    /// Identifies this replica: no two start in the same nanosecond.
    pub started: Timestamp,
    /// True once this gateway has to stop.
    pub stopping: watch::Receiver<bool>,
}

/// A [`Decision`] that refuses nobody, with the session that it is about.
pub enum Access {
    Pass { desktop: Desktop, visitor: Visitor },
    Wait(Visitor),
    Ended,
}

/// A person who was let in to a session.
pub struct Visitor {
    pub claims: Box<Claims>,
    /// As it was at the time of the decision; it may have changed since.
    pub session: Arc<Session>,
    pub changes: Changes,
}

impl Visitor {
    /// As opposed to somebody who was let in to help.
    pub fn is_owner(&self) -> bool {
        self.claims.sub.parse().is_ok_and(|subject| self.session.owner.is_same_person(&subject))
    }
}

impl Gateway {
    /// Decides about a request to a desktop's host.
    pub fn authorize(&self, host: &str, request: &Parts) -> Result<Access, Refusal> {
        let keys = self.ring()?;
        let changes = self.directory.by_host(host);
        let session = changes.as_ref().map(|changes| changes.borrow().clone());
        let token = cookie::of(&request.headers, cookie::SESSION);
        let request = AccessRequest {
            host,
            token: token.as_deref(),
            is_cross_origin: is_cross_origin(&request.method, &request.headers, &self.public.origin_of(host)),
        };
        let decision = decide(&request, session.as_deref(), &self.issuer(), &keys, Timestamp::now());
        Ok(match (decision, session.zip(changes)) {
            (Decision::Pass { desktop, claims }, Some((session, changes))) => {
                Access::Pass { desktop, visitor: Visitor { claims, session, changes } }
            }
            (Decision::Wait { claims }, Some((session, changes))) => Access::Wait(Visitor { claims, session, changes }),
            (Decision::SignIn(reason) | Decision::Forbid(reason), _) => return Err(Refusal::Denied(reason)),
            _ => Access::Ended,
        })
    }

    /// The answer to a request that is refused, which is counted.
    pub fn refuse(&self, refusal: Refusal) -> Response {
        if let Some(reason) = refusal.reason() {
            self.metrics.denied(reason);
        }
        refusal.answer()
    }

    /// The signing keys, while the gateway may decide.
    pub fn ring(&self) -> Result<Arc<KeyRing>, Refusal> {
        let is_known = self.directory.freshness.is_complete();
        self.keys.ring().filter(|_| is_known && self.is_in_touch()).ok_or(Refusal::OutOfTouch)
    }

    /// Whether the directory is recent enough to decide by.
    pub fn is_in_touch(&self) -> bool {
        self.directory.freshness.age(Instant::now()) <= self.cache_limit
    }

    /// Whether the session at this host exists, and can't be parsed.
    pub fn is_set_aside(&self, host: &str) -> bool {
        let sessions = self.aside.all::<Custom<VDISession>>();
        sessions.iter().filter_map(|session| self.public.host_of(session.url.as_deref()?)).any(|its| its == host)
    }

    pub fn issuer(&self) -> String {
        self.public.to_string()
    }

    pub fn sign(&self, grant: &Grant, keys: &KeyRing) -> Result<String, SignError> {
        sign(grant, keys, &self.keys.schedule, Timestamp::now())
    }

    pub fn view(&self, session: &Session) -> View {
        View::of(session, self.activity.idle(&session.uid, Instant::now()), Timestamp::now())
    }
}
