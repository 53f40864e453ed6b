//! The admission policy as it is deployed: the annotated wasm module, in the engine that Kubewarden's policy server uses.

mod build;
pub mod case;
mod host;
mod metadata;

pub use build::build;
pub use host::{Limits, PolicyHost, PolicyResponse, SettingsResponse};
