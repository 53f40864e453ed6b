//! Requests to a desktop's host.

mod enter;
mod events;

use std::time::Instant;

use axum::{body::Body, response::Response};
use http::{Method, Request, StatusCode};
use http_body_util::Limited;
use jiff::Timestamp;

use super::{
    access_log::LogFields,
    gateway::{Access, Gateway, Visitor},
    portal::open_path,
    refusal::Refusal,
};
use crate::{
    access::DenyReason,
    kubernetes::{ExtendError, extend},
    pages::{self, Frame, Link, Message, Waiting, page, redirect, text},
    proxy::{Client, ProxyError, Visit},
    request::origin::{is_cross_site, is_page, is_upgrade},
    sessions::{Desktop, Session},
};

/// Everything below this path is the gateway's own; a desktop never sees a request for it.
const OWN: &str = "/.vdi/";

/// The longest body that is passed on, in bytes.
const LONGEST_BODY: usize = 1 << 30;

pub async fn answer(
    gateway: &Gateway,
    host: &str,
    client: Client<'_>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    if let Some(name) = request.uri().path().strip_prefix(OWN).map(str::to_owned) {
        return own(gateway, host, &name, request).await;
    }
    let (head, body) = request.into_parts();
    let access = match gateway.authorize(host, &head) {
        // Somebody who opens the address signs in first, if there is a provider, and then comes back.
        Err(Refusal::Denied(DenyReason::NoToken | DenyReason::NoSession | DenyReason::Token(_)))
            if gateway.provider.is_some() && is_page(&head.method, &head.headers) =>
        {
            let portal = gateway.public.origin_of(gateway.public.domain());
            return Ok(redirect(&format!("{portal}{}", open_path(host))));
        }
        access => access?,
    };
    let request = Request::from_parts(head, body);
    Ok(match access {
        Access::Pass { desktop, visitor } => {
            let fields = log_fields(&visitor);
            fields.attach(pass(gateway, desktop, visitor, client, request).await)
        }
        Access::Wait(visitor) => log_fields(&visitor).attach(wait(gateway, &visitor.session, &request)),
        Access::Ended if gateway.is_set_aside(host) => page(StatusCode::SERVICE_UNAVAILABLE, &NEWER),
        Access::Ended => page(StatusCode::GONE, &ended(&gateway.issuer())),
    })
}

fn log_fields(Visitor { claims, session, .. }: &Visitor) -> LogFields {
    let session = Some(format!("{}/{}", session.namespace, session.name));
    LogFields { session, user: Some(claims.sub.clone()), refused: None }
}

/// The gateway's own pages and endpoints at a desktop's host.
async fn own(gateway: &Gateway, host: &str, name: &str, request: Request<Body>) -> Result<Response, Refusal> {
    match (request.method(), name) {
        // Without the question, another site's link could sign its visitors in at any desktop.
        (&Method::GET, "enter") => Ok(page(StatusCode::OK, &pages::Enter { asks: is_cross_site(request.headers()) })),
        (&Method::POST, "enter") => enter::enter(gateway, host, request).await,
        (&Method::POST, "renew") => enter::renew(gateway, host, request),
        (&Method::POST, "stay") => stay(gateway, host, request),
        (&Method::POST, "extend") => extend_session(gateway, host, request).await,
        (&Method::GET, "events") => events::follow(gateway, host, request),
        (&Method::GET, name) => pages::asset(name).ok_or_else(Refusal::not_found),
        _ => Err(Refusal::not_found()),
    }
}

async fn pass(
    gateway: &Gateway,
    desktop: Desktop,
    Visitor { session, changes, .. }: Visitor,
    client: Client<'_>,
    request: Request<Body>,
) -> Response {
    if is_page(request.method(), request.headers()) {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        // A path that starts with two slashes would name another host.
        let path = if path == "/" || path.starts_with("//") { &desktop.path } else { path };
        return page(StatusCode::OK, &Frame { session: &session, path });
    }
    let Some(permit) = gateway.concurrency.acquire(&session.uid) else {
        return Refusal::too_many_requests().answer();
    };
    let visit = Visit { session, changes, permit };
    let request = request.map(|body| Body::new(Limited::new(body, LONGEST_BODY)));
    match gateway.proxy.pass(request, &desktop, &client, visit).await {
        Ok(answer) => answer,
        Err(error) => failed(&error),
    }
}

fn failed(error: &ProxyError) -> Response {
    tracing::info!(%error, "cannot pass a request on");
    let status = match error {
        ProxyError::Slow(_) => StatusCode::GATEWAY_TIMEOUT,
        ProxyError::NotARequest(_) => StatusCode::BAD_REQUEST,
        ProxyError::Unreachable(_) | ProxyError::Protocol => StatusCode::BAD_GATEWAY,
    };
    let message = Message {
        title: "The desktop does not respond",
        text: "It is running but can't be reached. It may be restarting.",
        link: Some(Link { href: "/", label: "Try again" }),
    };
    page(status, &message)
}

/// For a person, a page that opens the desktop by itself; for anything else, an error.
fn wait(gateway: &Gateway, session: &Session, request: &Request<Body>) -> Response {
    match request.method() == Method::GET && !is_upgrade(request.headers()) {
        true => page(StatusCode::OK, &Waiting { session, view: gateway.view(session), portal: &gateway.issuer() }),
        false => text(StatusCode::SERVICE_UNAVAILABLE, "the desktop is not running"),
    }
}

/// For somebody whose session is there.
const NEWER: Message = Message {
    title: "This desktop can't be opened at the moment",
    text: "Its session has a value that this version of the gateway doesn't know. The desktop may be running all the same. \
           Ask whoever runs the cluster to upgrade the gateway.",
    link: Some(Link { href: "/", label: "Try again" }),
};

/// For somebody who had a desktop here and comes back.
fn ended(portal: &str) -> Message<'_> {
    Message {
        title: "This session has ended",
        text: "Its desktop is gone and its GPU is free. Files in your home directory are kept. To continue, start \
               a new session.",
        link: Some(Link { href: portal, label: "Your desktops" }),
    }
}

/// The user answers that they are still there, which counts as input.
fn stay(gateway: &Gateway, host: &str, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    match gateway.authorize(host, &head)? {
        Access::Pass { visitor, .. } => {
            gateway.activity.record_input(&visitor.session.uid, Instant::now());
            Ok(text(StatusCode::OK, "ok"))
        }
        _ => Err(Refusal::message(StatusCode::CONFLICT, "the desktop is not running")),
    }
}

/// The owner asks for more time.
async fn extend_session(gateway: &Gateway, host: &str, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    let visitor = match gateway.authorize(host, &head)? {
        Access::Pass { visitor, .. } if visitor.is_owner() => visitor,
        _ => return Err(Refusal::message(StatusCode::FORBIDDEN, "only the owner can extend a session")),
    };
    extend(&gateway.client, &visitor.session, Timestamp::now()).await.map_err(|error| {
        tracing::info!(%error, session = visitor.session.name, namespace = visitor.session.namespace, "not extended");
        let status = match error {
            ExtendError::Cluster(_) => StatusCode::SERVICE_UNAVAILABLE,
            ExtendError::NotOffered | ExtendError::Refused(_) => StatusCode::CONFLICT,
        };
        Refusal::message(status, error.to_string())
    })?;
    Ok(log_fields(&visitor).attach(text(StatusCode::OK, "ok")))
}
