//! The API server: how it is reached, and when this replica may write to it.

mod client;
mod clock;
pub mod events;
pub mod leader;
mod lease;
mod write_gate;

pub use client::Connection;
pub use clock::Clock;
pub use write_gate::WriteGate;
