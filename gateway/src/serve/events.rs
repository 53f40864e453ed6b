//! What becomes of a session, told to its page as it happens ([server-sent events]).
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

use super::{Decided, Entry, Gateway, desktop::too_many, refusal::Refusal};
use crate::{activity::Activity, directory::Changes, session::Session, view::View, visitors::Visitor};

/// So often it is told in any case: what time is left, and that the connection is alive.
const EVERY: Duration = Duration::from_secs(15);

/// To who may enter, from now until the session is gone or becomes another's, or this gateway stops.
pub fn follow(gateway: &Gateway, host: &str, request: Request<Body>) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    let Entry { session, changes, .. } = match gateway.decide(host, &head)? {
        Decided::Pass { entry, .. } | Decided::Wait(entry) => entry,
        Decided::Ended => return Ok(Sse::new(stream::iter([Ok::<_, Infallible>(gone())])).into_response()),
    };
    let (activity, stopping, replica) = (gateway.activity.clone(), gateway.stopping.clone(), gateway.began.to_string());
    let visitor = gateway.visitors.arrive(&session.uid).ok_or_else(too_many)?;
    let follower = Follower { session, changes, activity, stopping, replica, _visitor: visitor, next: Next::Now };
    Ok(Sse::new(follower.events()).into_response())
}

struct Follower {
    session: Arc<Session>,
    changes: Changes,
    activity: Arc<Activity>,
    stopping: watch::Receiver<bool>,
    replica: String,
    /// Counts as long as this is open.
    _visitor: Visitor,
    next: Next,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    view: View,
    /// Another one than before, and what was open there is gone.
    replica: &'a str,
}

enum Next {
    Now,
    /// With the next change, or in a while.
    Later,
    Never,
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follower| async move { Some((Ok(follower.next().await?), follower)) })
    }

    async fn next(&mut self) -> Option<Event> {
        let is_there = match self.next {
            Next::Never => return None,
            Next::Now => true,
            Next::Later => tokio::select! {
                changed = self.changes.changed() => changed.is_ok(),
                () = tokio::time::sleep(EVERY) => true,
                // The browser asks again by itself, and reaches another replica.
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            },
        };
        let session = self.changes.borrow_and_update().clone();
        if !is_there || session.uid != self.session.uid {
            self.next = Next::Never;
            return Some(gone());
        }
        self.next = Next::Later;
        let view = View::of(&session, self.activity.idle(&session.uid, Instant::now()), Timestamp::now());
        let event = Event::default().event("session");
        // Text and numbers can always be written as JSON.
        Some(event.json_data(Told { view, replica: &self.replica }).unwrap_or_else(|_| gone()))
    }
}

fn gone() -> Event {
    // An event without data is none.
    Event::default().event("gone").data("gone")
}
