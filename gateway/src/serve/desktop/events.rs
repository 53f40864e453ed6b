//! The state of a session, sent to its page as it changes ([server-sent events]).
//!
//! [server-sent events]: https://html.spec.whatwg.org/multipage/server-sent-events.html

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures::{Stream, stream};
use http::Request;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use crate::{
    access::Permit,
    activity::Activity,
    pages::View,
    serve::{
        gateway::{Access, Gateway, Visitor},
        refusal::Refusal,
    },
    sessions::{Changes, Session},
};

/// How often an event is sent without a change: for the time left, and to show that the connection is alive.
const INTERVAL: Duration = Duration::from_secs(15);

/// Sends events until the session is gone or replaced by another, or until this gateway stops.
pub fn follow(gateway: &Gateway, host: &str, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    let Visitor { session, changes, .. } = match gateway.authorize(host, &head)? {
        Access::Pass { visitor, .. } | Access::Wait(visitor) => visitor,
        Access::Ended => return Ok(Sse::new(stream::iter([Ok::<_, Infallible>(gone())])).into_response()),
    };
    let permit = gateway.concurrency.acquire(&session.uid).ok_or_else(Refusal::too_many_requests)?;
    let follower = Follower {
        session,
        changes,
        activity: gateway.activity.clone(),
        stopping: gateway.stopping.clone(),
        replica: gateway.started.to_string(),
        _permit: permit,
        next: Next::Now,
    };
    Ok(Sse::new(follower.events()).into_response())
}

struct Follower {
    session: Arc<Session>,
    changes: Changes,
    activity: Arc<Activity>,
    stopping: watch::Receiver<bool>,
    replica: String,
    _permit: Permit,
    next: Next,
}

#[derive(Serialize)]
struct SessionEvent<'a> {
    #[serde(flatten)]
    view: View,
    /// If it changes, the connections through the previous replica are gone.
    replica: &'a str,
}

/// When the next event is due.
enum Next {
    Now,
    /// With the next change, or after [`INTERVAL`].
    Later,
    Never,
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follower| async move { Some((Ok(follower.next().await?), follower)) })
    }

    async fn next(&mut self) -> Option<Event> {
        let exists = match self.next {
            Next::Never => return None,
            Next::Now => true,
            Next::Later => tokio::select! {
                changed = self.changes.changed() => changed.is_ok(),
                () = tokio::time::sleep(INTERVAL) => true,
                // The browser reconnects by itself, to another replica.
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            },
        };
        let session = self.changes.borrow_and_update().clone();
        if !exists || session.uid != self.session.uid {
            self.next = Next::Never;
            return Some(gone());
        }
        self.next = Next::Later;
        let view = View::of(&session, self.activity.idle(&session.uid, Instant::now()), Timestamp::now());
        let event = Event::default().event("session");
        // Serializing text and numbers can't fail.
        Some(event.json_data(SessionEvent { view, replica: &self.replica }).unwrap_or_else(|_| gone()))
    }
}

fn gone() -> Event {
    // Browsers ignore an event without data.
    Event::default().event("gone").data("gone")
}
