//! What the native programs have in common: where settings come from, how log lines are written, how to stop, what the process
//! uses, and whom TLS believes within the cluster.

pub mod any_certificate;
mod log;
pub mod process_metrics;
pub mod settings;
mod stop;

pub use log::LogFormat;
pub use stop::stop_signal;
