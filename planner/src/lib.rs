//! Decides what to do about a VDISession, and builds the objects that it is made of.
//!
//! Everything here is a pure function of its arguments: no client, no clock, no randomness. The controller gathers an
//! [`Observed`](model::Observed), [`plan`](plan::plan) says what to do about it, and the controller does that.

pub mod capacity;
pub mod digest;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod model;
pub mod plan;
pub mod resources;
