//! What other modules report of themselves: counters and traces.

mod counters;
pub mod traces;

pub use counters::Counters;
