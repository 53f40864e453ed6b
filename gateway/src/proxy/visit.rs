//! The session that a request belongs to.

use std::sync::Arc;

use crate::{
    access::Permit,
    sessions::{Changes, Session},
};

/// A session as it was when the request was let in, its later versions, and the permit of what is open to it.
#[derive(Debug)]
pub struct Visit {
    pub session: Arc<Session>,
    pub changes: Changes,
    pub permit: Permit,
}
