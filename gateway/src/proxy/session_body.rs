//! The body of a desktop's answer. It holds its permit until its end, and is cut when the session no longer permits it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Bytes, HttpBody};
use futures::{FutureExt, future::BoxFuture};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};

use super::visit::Visit;
use crate::{access::Permit, sessions::revoked};

pub struct SessionBody {
    body: Incoming,
    revoked: BoxFuture<'static, ()>,
    _permit: Permit,
}

#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the session has ended")]
    Ended,
    #[error(transparent)]
    Body(#[from] hyper::Error),
}

impl SessionBody {
    pub fn new(body: Incoming, Visit { session, changes, permit }: Visit) -> Self {
        Self { body, revoked: revoked(session, changes).boxed(), _permit: permit }
    }
}

impl HttpBody for SessionBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.revoked.poll_unpin(context).is_ready() {
            return Poll::Ready(Some(Err(BodyError::Ended)));
        }
        self.body.frame().poll_unpin(context).map_err(BodyError::Body)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
