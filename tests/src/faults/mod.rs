//! Faults around the controller: it is killed, cut off, refused and lied to, as a seed determines. Once the faults are over,
//! everything has to be as if nothing had happened.

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
