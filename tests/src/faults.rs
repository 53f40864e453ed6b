//! The controller in trouble: killed, cut off, refused, lied to and hurried, by a plan that follows from a seed. Whatever
//! happened, once it is calm again everything has to be as if nothing had.

mod actions;
mod arena;
mod clock;
pub mod invariants;
mod life;
mod proxy;
mod scenario;
mod storm;
mod stream;

pub use arena::Arena;
pub use scenario::Scenario;

use std::time::Duration;

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// For every run of the tests.
    Short,
    /// For a night.
    Long,
}

impl Length {
    /// How many sessions there are at most.
    fn sessions(self) -> usize {
        self.either(40, 200)
    }

    /// How often users do something once the faults are over.
    fn actions(self) -> usize {
        self.either(40, 500)
    }

    /// How long each kind of fault lasts.
    fn storm(self) -> Duration {
        Duration::from_millis(self.either(1500, 8000))
    }

    /// How long nothing may be asked for once it is calm.
    fn silence(self) -> Duration {
        Duration::from_secs(self.either(3, 60))
    }

    fn either<T>(self, short: T, long: T) -> T {
        if self == Self::Short { short } else { long }
    }
}
