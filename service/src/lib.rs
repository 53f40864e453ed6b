//! What the native programs share: settings, logging, stop signals, backoff, process metrics, TLS to desktops, the limits on
//! pod addresses, the passwords of desktops, and the parsing of objects of which some may be malformed.

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
