//! The servers: for browsers, at the portal's and the desktops' hosts, and for the cluster, at the operations port.

mod access_log;
mod body;
mod desktop;
mod gateway;
pub mod listen;
pub mod operations;
mod portal;
mod refusal;
mod router;

pub use gateway::Gateway;
