//! The admission policy as it is deployed: the annotated wasm module, in the engine that Kubewarden's policy server uses.

mod capabilities;
pub mod case;
mod cluster;
mod host;
pub mod invariants;
pub mod native;
pub mod random;

pub use capabilities::{Capabilities, Played};
pub use cluster::ClusterCapabilities;
pub use host::{Limits, PolicyHost, PolicyResponse, SettingsResponse};
