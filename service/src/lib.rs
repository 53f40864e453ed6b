//! What the native programs share: settings, logging, stop signals, backoff, process metrics, TLS to desktops, what names a
//! certificate is for, the limits on pod addresses, the Secrets that both use, what they wait for, and the parsing of objects of
//! which some may be malformed.

#![deny(clippy::disallowed_methods)]

mod activity_token;
pub mod any_certificate;
pub mod aside;
pub mod certificate;
pub mod files;
pub mod lenient;
mod log;
mod login_keys;
pub mod metrics_page;
mod needs;
mod pause;
pub mod process_metrics;
mod reach;
pub mod settings;
mod shared_secret;
mod shared_values;
mod stop;
pub mod trouble;
pub mod unread;
mod watch_one;

pub use activity_token::ActivityToken;
pub use aside::Aside;
pub use lenient::Lenient;
pub use log::{LogFormat, LogSettings};
pub use login_keys::{LoginKey, LoginKeys};
pub use needs::{Need, Needs};
pub use pause::Pause;
pub use reach::Reach;
pub use shared_secret::{PartialSecret, Secrets, Shared};
pub use shared_values::SharedValues;
pub use stop::{stop_signal, stop_signal_or_hangup};
pub use watch_one::watch_one;
