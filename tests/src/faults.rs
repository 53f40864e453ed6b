//! The controller in trouble: killed, cut off, refused, lied to and hurried, by a plan that follows from a seed. Whatever
//! happened, once it is calm again everything has to be as if nothing had.

mod actions;
mod arena;
mod clock;
pub mod invariants;
mod length;
mod life;
mod proxy;
mod scenario;
mod storm;
mod stream;

pub use arena::Arena;
pub use length::Length;
pub use scenario::Scenario;
