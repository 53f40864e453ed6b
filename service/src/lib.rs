//! What the native programs have in common: where settings come from, how log lines are written, how to stop, when to
//! try again, what the process
//! uses, and whom TLS believes within the cluster.

pub mod any_certificate;
mod log;
mod pause;
pub mod process_metrics;
pub mod settings;
mod stop;

pub use log::{LogFormat, LogSettings};
pub use pause::Pause;
pub use stop::stop_signal;
