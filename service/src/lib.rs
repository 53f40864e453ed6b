//! What the native programs have in common: where settings come from, how log lines are written, how to stop, when to try
//! again, what the process uses, whom TLS believes within the cluster, where
//! pods may be, and what opens a desktop that asks for a password.

pub mod any_certificate;
mod log;
mod login_keys;
mod pause;
pub mod process_metrics;
mod reach;
pub mod settings;
mod stop;

pub use log::{LogFormat, LogSettings};
pub use login_keys::{LoginKey, LoginKeys};
pub use pause::Pause;
pub use reach::Reach;
pub use stop::stop_signal;
