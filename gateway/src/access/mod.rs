//! Who may pass, and how many at a time. Pure: everything that a decision needs is passed in.

mod concurrency_limit;
mod decide;
mod upstream_limit;

pub use concurrency_limit::{ConcurrencyLimit, Permit};
pub use decide::{AccessRequest, Decision, DenyReason, decide};
pub use upstream_limit::{UpstreamLimit, UpstreamLimits};
