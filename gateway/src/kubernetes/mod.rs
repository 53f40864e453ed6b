//! Everything that the gateway reads from the API server, asks it, and writes to it.

mod authenticator;
mod extend;
mod keys;
mod replay_guard;
mod reviews;
mod watch;

pub use authenticator::{Authenticator, Person};
pub use extend::{ExtendError, extend};
pub use keys::{KeyRotator, Keys};
pub use replay_guard::ReplayGuard;
pub use reviews::AuthError;
pub use watch::{WATCH_PATIENCE, Watcher};
