//! The list of a person's sessions, and its updates.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, Sse},
};
use futures::{Stream, stream};
use http::{StatusCode, request::Parts};
use jiff::Timestamp;
use tokio::sync::watch;
use vdi_api::Email;

use super::login;
use crate::{
    access::{DenyReason, Permit},
    pages::{Link, Message, Portal, Row, SessionList, html, page},
    request::origin::is_from_own_page,
    serve::{gateway::Gateway, refusal::Refusal},
    sessions::OwnerChanges,
};

/// How often the list is rebuilt without a change, for the time left.
const INTERVAL: Duration = Duration::from_secs(30);
/// Changes come in bursts; each burst makes one list.
const BURST: Duration = Duration::from_millis(200);

const WELCOME: Message = Message {
    title: "GPU desktops",
    text: "Each desktop has its own address below this one and opens for its owner only. To get a link, send your \
           Kubernetes token to /launch.",
    link: None,
};

const SIGN_IN: Message = Message {
    title: "GPU desktops",
    text: "Sign in to see your desktops. Nobody else can open them.",
    link: Some(Link { href: "/.vdi/sign-in", label: "Sign in" }),
};

/// The portal's page.
pub fn home(gateway: &Gateway, head: &Parts) -> Result<Response, Refusal> {
    if gateway.provider.is_none() {
        return Ok(page(StatusCode::OK, &WELCOME));
    }
    let Some(claims) = login::claims(gateway, head)? else { return Ok(page(StatusCode::OK, &SIGN_IN)) };
    let Ok(email) = claims.email.parse::<Email>() else { return Ok(page(StatusCode::OK, &SIGN_IN)) };
    Ok(page(StatusCode::OK, &Portal { email: email.as_str(), list: list(gateway, &email) }))
}

/// Sends the list each time it changes, until the login expires.
pub fn follow(gateway: Arc<Gateway>, head: &Parts) -> Result<Response, Refusal> {
    // Before the token is looked at: another site's page could use up all the lists that somebody may have open.
    if !is_from_own_page(&head.headers, &gateway.issuer()) {
        return Err(Refusal::Denied(DenyReason::CrossOrigin));
    }
    let sign_in_first = || Refusal::message(StatusCode::UNAUTHORIZED, "sign in first");
    let claims = login::claims(&gateway, head)?.ok_or_else(sign_in_first)?;
    let email: Email = claims.email.parse().map_err(|_| sign_in_first())?;
    let permit = gateway.concurrency.acquire(email.normalized().as_str()).ok_or_else(|| {
        Refusal::message(StatusCode::TOO_MANY_REQUESTS, "too many pages with your desktops are open; close some")
    })?;
    let follower = Follower {
        changes: gateway.directory.changes_of(email.clone()),
        stopping: gateway.stopping.clone(),
        gateway,
        email,
        until: claims.exp,
        _permit: permit,
        last: String::new(),
    };
    Ok(Sse::new(follower.events()).into_response())
}

/// The sessions of a person, as HTML.
fn list(gateway: &Gateway, email: &Email) -> String {
    let sessions = gateway.directory.by_owner(email);
    let rows = sessions.iter().map(|session| Row::of(session, gateway.view(session))).collect();
    html(&SessionList { rows })
}

struct Follower {
    gateway: Arc<Gateway>,
    email: Email,
    /// When the login expires, in seconds since 1970.
    until: i64,
    changes: OwnerChanges,
    stopping: watch::Receiver<bool>,
    _permit: Permit,
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
                () = tokio::time::sleep(INTERVAL) => {}
                // The browser reconnects by itself, to another replica.
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
            if Timestamp::now().as_second() >= self.until {
                return None;
            }
            tokio::time::sleep(BURST).await;
        }
    }
}
