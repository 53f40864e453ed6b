//! What the native programs have in common: where settings come from, how log lines are written, how to stop, when to try
//! again, what the process uses, whom TLS believes within the cluster, where pods may be, what opens a desktop that asks for a
//! password, and how objects are read of which one may be such as nobody can read.

#![deny(clippy::disallowed_methods)]

pub mod any_certificate;
pub mod aside;
pub mod lenient;
mod log;
mod login_keys;
pub mod metrics_page;
mod pause;
pub mod process_metrics;
mod reach;
pub mod settings;
mod stop;

pub use aside::Aside;
pub use lenient::Lenient;
pub use log::{LogFormat, LogSettings};
pub use login_keys::{LoginKey, LoginKeys};
pub use pause::Pause;
pub use reach::Reach;
pub use stop::{stop_signal, stop_signal_or_hangup};
