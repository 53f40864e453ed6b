//! What a release is made of, and how it reaches a registry: the admission policy, built from source, annotated, and
//! published as an OCI artifact.

pub mod command;
mod digest;
pub mod policy;
mod registry;
mod workspace;

pub use digest::digest;
pub use registry::docker_config;
pub use workspace::{target, workspace};
