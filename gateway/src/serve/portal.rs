//! The gateway's own site: signing in, and the desktops of who has signed in.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures::{Stream, stream};
use http::{Method, Request, StatusCode, request::Parts};
use jiff::Timestamp;
use tokio::sync::watch;
use vdi_api::Email;

use super::{
    Gateway, assets,
    desktop::not_found,
    launch,
    pages::{self, Link, Message, Portal, Row, Sessions, json, page},
    refusal::Refusal,
    sign_in,
};
use crate::{
    cookie,
    decide::Why,
    directory::ChangesOf,
    origin::is_from_own_page,
    token::{Claims, Expected, Purpose, verify},
    visitors::Visitor,
};

pub async fn answer(gateway: Arc<Gateway>, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/") => home(&gateway, &head),
        (&Method::GET, "/.vdi/sessions") => follow(gateway, &head),
        (&Method::GET, "/.vdi/sign-in") => sign_in::begin(&gateway, "").await,
        (&Method::GET, "/.vdi/callback") => sign_in::end(&gateway, &head).await,
        (&Method::GET, "/.vdi/open") => sign_in::open(&gateway, &head).await,
        (&Method::POST, "/.vdi/sign-out") => sign_in::sign_out(&gateway, &head),
        (&Method::POST, "/launch") => launch::launch(&gateway, &head, body).await,
        (&Method::GET, "/.well-known/jwks.json") => {
            let keys = gateway.keys.ring().ok_or(Refusal::OutOfTouch)?;
            Ok(json(StatusCode::OK, &keys.public()))
        }
        (&Method::GET, path) => path.strip_prefix("/.vdi/").and_then(assets::asset).ok_or_else(not_found),
        _ => Err(not_found()),
    }
}

/// What a token at the portal is for, where one at a desktop names a session.
pub const AUDIENCE: &str = "portal";

impl Gateway {
    /// Who has signed in, if anybody has.
    pub(super) fn signed_in(&self, head: &Parts) -> Result<Option<Claims>, Refusal> {
        let keys = self.ring()?;
        let Some(token) = cookie::of(&head.headers, cookie::LOGIN) else { return Ok(None) };
        let (issuer, host) = (self.issuer(), self.public.domain());
        let expected = Expected { purpose: Purpose::Login, issuer: &issuer, session_uid: Some(AUDIENCE), host };
        Ok(verify(&token, &keys, &expected, Timestamp::now()).ok())
    }
}

fn home(gateway: &Gateway, head: &Parts) -> Result<Response, Refusal> {
    if gateway.provider.is_none() {
        return Ok(page(StatusCode::OK, &WELCOME));
    }
    let Some(claims) = gateway.signed_in(head)? else { return Ok(page(StatusCode::OK, &SIGN_IN)) };
    let Ok(email) = claims.email.parse::<Email>() else { return Ok(page(StatusCode::OK, &SIGN_IN)) };
    Ok(page(StatusCode::OK, &Portal { email: email.as_str(), list: list(gateway, &email) }))
}

const WELCOME: Message = Message {
    title: "GPU desktops",
    text: "Each desktop has an address of its own below this one, and opens for its owner alone. Ask for a link by showing \
           your Kubernetes token at /launch.",
    link: None,
};

const SIGN_IN: Message = Message {
    title: "GPU desktops",
    text: "Your desktops open for you alone.",
    link: Some(Link { href: "/.vdi/sign-in", label: "Sign in" }),
};

/// The list of somebody's sessions, as HTML.
fn list(gateway: &Gateway, email: &Email) -> String {
    let sessions = gateway.directory.of(email);
    let rows = sessions.iter().map(|session| Row::of(session, gateway.view(session))).collect();
    pages::html(&Sessions { rows })
}

/// So often the list is told in any case: what time is left.
const EVERY: Duration = Duration::from_secs(30);
/// Changes come in bursts, and a list is made of all of one.
const BURST: Duration = Duration::from_millis(200);

/// The list, each time that it changes, until the sign-in is over.
fn follow(gateway: Arc<Gateway>, head: &Parts) -> Result<Response, Refusal> {
    // Before who it is: another page could use up all the lists that somebody may have open.
    if !is_from_own_page(&head.headers, &gateway.issuer()) {
        return Err(Refusal::Why(Why::CrossOrigin));
    }
    let claims = gateway.signed_in(head)?.ok_or_else(|| Refusal::said(StatusCode::UNAUTHORIZED, "sign in first"))?;
    let email: Email = claims.email.parse().map_err(|_| Refusal::said(StatusCode::UNAUTHORIZED, "sign in first"))?;
    let visitor = gateway
        .visitors
        .arrive(email.normalized().as_str())
        .ok_or_else(|| Refusal::said(StatusCode::TOO_MANY_REQUESTS, "too many pages with your desktops are open"))?;
    let (changes, stopping) = (gateway.directory.changes_of(email.clone()), gateway.stopping.clone());
    let follower =
        Follower { gateway, email, until: claims.exp, changes, stopping, _visitor: visitor, last: String::new() };
    Ok(Sse::new(follower.events()).into_response())
}

struct Follower {
    gateway: Arc<Gateway>,
    email: Email,
    until: i64,
    changes: ChangesOf,
    stopping: watch::Receiver<bool>,
    /// Counts as long as this is open.
    _visitor: Visitor,
    last: String,
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follower| async move { Some((Ok(follower.next().await?), follower)) })
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            self.changes.skip();
            let list = list(&self.gateway, &self.email);
            if list != self.last {
                self.last.clone_from(&list);
                return Some(Event::default().event("sessions").data(list));
            }
            tokio::select! {
                changed = self.changes.next() => changed?,
                () = tokio::time::sleep(EVERY) => {}
                // The browser asks again by itself, and reaches another replica.
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
            if Timestamp::now().as_second() >= self.until {
                return None;
            }
            tokio::time::sleep(BURST).await;
        }
    }
}
