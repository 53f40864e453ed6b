//! The body of an answer, which counts as open until its end, and is cut where a websocket would be.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Bytes, HttpBody};
use futures::{FutureExt, future::BoxFuture};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};

use super::Visit;
use crate::{directory::ends, visitors::Visitor};

pub struct Held {
    body: Incoming,
    ends: BoxFuture<'static, ()>,
    _visitor: Visitor,
}

#[derive(Debug, thiserror::Error)]
pub enum Cut {
    #[error("the session has ended")]
    Ended,
    #[error(transparent)]
    Body(#[from] hyper::Error),
}

impl Held {
    pub fn new(body: Incoming, Visit { session, changes, visitor }: Visit) -> Self {
        Self { body, ends: ends(session, changes).boxed(), _visitor: visitor }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.ends.poll_unpin(context).is_ready() {
            return Poll::Ready(Some(Err(Cut::Ended)));
        }
        self.body.frame().poll_unpin(context).map_err(Cut::Body)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
