//! The admission policy: its wasm module, the Kubewarden metadata in the module, and the OCI artifact that carries it.

pub mod artifact;
mod build;
pub mod metadata;
mod module;

pub use build::{build, build_in};
pub use module::{TARGET, compile};
