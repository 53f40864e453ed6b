//! A request to one desktop's host.

use std::time::Instant;

use axum::{body::Body, response::Response};
use http::{Method, Request, StatusCode};
use http_body_util::Limited;
use jiff::Timestamp;

use super::{
    Asking, Decided, Entry, Gateway,
    access::About,
    assets, enter, events,
    pages::{self, Frame, Link, Message, Waiting, page, text},
    refusal::Refusal,
    sign_in::{open_address, redirect},
};
use crate::{
    decide::Why,
    extend::{ExtendError, extend},
    origin::{asks_to_upgrade, is_cross_site, is_page},
    proxy::{Client, ProxyError, Visit},
    session::{Desktop, Session},
    view::View,
};

/// Below this path, everything is the gateway's own; a desktop never sees a request to it.
const OWN: &str = "/.vdi/";

/// The longest body that is passed on.
const LONGEST_BODY: usize = 1 << 30;

pub async fn answer(
    gateway: &Gateway,
    host: &str,
    asking: Asking<'_>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    if let Some(name) = request.uri().path().strip_prefix(OWN).map(str::to_owned) {
        return own(gateway, host, &name, request).await;
    }
    let (head, body) = request.into_parts();
    let decided = match gateway.decide(host, &head) {
        // Somebody who opens the address is signed in first, where that can be done here, and comes back.
        Err(Refusal::Why(Why::NoToken | Why::NoSession | Why::Token(_)))
            if gateway.provider.is_some() && is_page(&head.method, &head.headers) =>
        {
            let portal = gateway.public.origin_of(gateway.public.domain());
            return Ok(redirect(&format!("{portal}{}", open_address(host))));
        }
        decided => decided?,
    };
    let request = Request::from_parts(head, body);
    Ok(match decided {
        Decided::Pass { desktop, entry } => {
            let about = about(&entry);
            about.put(enter_desktop(gateway, desktop, entry, asking, request).await)
        }
        Decided::Wait(entry) => about(&entry).put(wait(gateway, &entry.session, &request)),
        Decided::Ended => page(StatusCode::GONE, &ended(&gateway.issuer())),
    })
}

fn about(Entry { claims, session, .. }: &Entry) -> About {
    let session = Some(format!("{}/{}", session.namespace, session.name));
    About { session, user: Some(claims.sub.clone()), refused: None }
}

/// The gateway's own pages and answers at a desktop's host.
async fn own(gateway: &Gateway, host: &str, name: &str, request: Request<Body>) -> Result<Response, Refusal> {
    match (request.method(), name) {
        // Who is sent here by another site would be signed in at whatever desktop its link is for.
        (&Method::GET, "enter") => Ok(page(StatusCode::OK, &pages::Enter { asks: is_cross_site(request.headers()) })),
        (&Method::POST, "enter") => enter::enter(gateway, host, request).await,
        (&Method::POST, "renew") => enter::renew(gateway, host, request),
        (&Method::POST, "stay") => stay(gateway, host, request),
        (&Method::POST, "extend") => go_on(gateway, host, request).await,
        (&Method::GET, "events") => events::follow(gateway, host, request),
        (&Method::GET, name) => assets::asset(name).ok_or_else(not_found),
        _ => Err(not_found()),
    }
}

pub fn too_many() -> Refusal {
    Refusal::said(StatusCode::TOO_MANY_REQUESTS, "too much is asked of this desktop at once")
}

pub fn not_found() -> Refusal {
    Refusal::said(StatusCode::NOT_FOUND, "there is nothing here")
}

async fn enter_desktop(
    gateway: &Gateway,
    desktop: Desktop,
    Entry { session, changes, .. }: Entry,
    asking: Asking<'_>,
    request: Request<Body>,
) -> Response {
    if is_page(request.method(), request.headers()) {
        let asked = request.uri().path_and_query().map_or("/", |path| path.as_str());
        // What begins with two slashes would be another host.
        let path = if asked == "/" || asked.starts_with("//") { &desktop.path } else { asked };
        return page(StatusCode::OK, &Frame { session: &session, path });
    }
    let Some(visitor) = gateway.visitors.arrive(&session.uid) else { return too_many().answer() };
    let client =
        Client { address: asking.address, scheme: gateway.public.scheme().name(), authority: asking.authority };
    let visit = Visit { session, changes, visitor };
    let request = request.map(|body| Body::new(Limited::new(body, LONGEST_BODY)));
    match gateway.proxy.pass(request, &desktop, &client, visit).await {
        Ok(answer) => answer,
        Err(error) => failed(&error),
    }
}

fn failed(error: &ProxyError) -> Response {
    tracing::info!(%error, "a request could not be passed on");
    let status = match error {
        ProxyError::Slow(_) => StatusCode::GATEWAY_TIMEOUT,
        ProxyError::NotARequest(_) => StatusCode::BAD_REQUEST,
        ProxyError::Unreachable(_) | ProxyError::Protocol => StatusCode::BAD_GATEWAY,
    };
    let message = Message {
        title: "The desktop does not answer",
        text: "It is running, and yet it could not be reached. It may just be starting again.",
        link: Some(Link { href: "/", label: "Try again" }),
    };
    page(status, &message)
}

/// To a person, a page that moves on by itself; to anything else, that it has to come again.
fn wait(gateway: &Gateway, session: &Session, request: &Request<Body>) -> Response {
    match request.method() == Method::GET && !asks_to_upgrade(request.headers()) {
        true => page(StatusCode::OK, &Waiting { session, view: gateway.view(session), portal: &gateway.issuer() }),
        false => text(StatusCode::SERVICE_UNAVAILABLE, "the desktop is not running"),
    }
}

/// To who had a desktop here and comes back.
fn ended(portal: &str) -> Message<'_> {
    Message {
        title: "This session has ended",
        text: "Its desktop is gone and its GPU is free. Files in its home stay. To go on, start a new session.",
        link: Some(Link { href: portal, label: "Your desktops" }),
    }
}

/// Somebody has said that they are still there.
fn stay(gateway: &Gateway, host: &str, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    match gateway.decide(host, &head)? {
        Decided::Pass { entry, .. } => {
            gateway.activity.input(&entry.session.uid, Instant::now());
            Ok(text(StatusCode::OK, "good"))
        }
        _ => Err(Refusal::said(StatusCode::CONFLICT, "the desktop is not running")),
    }
}

/// Its owner wants to go on after its time.
async fn go_on(gateway: &Gateway, host: &str, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    let entry = match gateway.decide(host, &head)? {
        Decided::Pass { entry, .. } if entry.is_the_owners() => entry,
        _ => return Err(Refusal::said(StatusCode::FORBIDDEN, "only its owner can go on")),
    };
    extend(&gateway.client, &entry.session, Timestamp::now()).await.map_err(|error| {
        tracing::info!(%error, session = entry.session.name, namespace = entry.session.namespace, "not extended");
        let status = match error {
            ExtendError::Cluster(_) => StatusCode::SERVICE_UNAVAILABLE,
            ExtendError::NotOffered | ExtendError::Refused(_) => StatusCode::CONFLICT,
        };
        Refusal::said(status, error.to_string())
    })?;
    Ok(about(&entry).put(text(StatusCode::OK, "good")))
}

impl Gateway {
    pub(super) fn view(&self, session: &Session) -> View {
        View::of(session, self.activity.idle(&session.uid, Instant::now()), Timestamp::now())
    }
}
