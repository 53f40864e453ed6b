//! The sessions that exist, each with its desktop, as the watches last reported them.

mod basic_auth;
mod desktop;
mod directory;
mod freshness;
mod obstacle;
mod session;
#[cfg(test)]
mod tests;

pub use desktop::{Desktop, DesktopPod, PartialPod};
pub use directory::{Changes, Directory, OwnerChanges, revoked};
pub use freshness::{Freshness, Source};
pub use obstacle::Obstacle;
pub use session::{ReadyCondition, Session};
