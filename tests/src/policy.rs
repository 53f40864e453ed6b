//! The admission policy as it is deployed: the annotated wasm module, in the engine that Kubewarden's policy server uses.

mod build;
mod capabilities;
pub mod case;
mod cluster;
mod host;
pub mod invariants;
pub mod metadata;
pub mod native;
pub mod random;
pub mod registry;

pub use build::{build, build_in, build_no_op};
pub use capabilities::{Capabilities, Played};
pub use cluster::ClusterCapabilities;
pub use host::{Limits, PolicyHost, PolicyResponse, SettingsResponse};
