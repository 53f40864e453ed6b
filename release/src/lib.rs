//! What a release is made of, and how it reaches a registry: the admission policy and the programs' images, built from
//! source, the same bytes everywhere, and published as OCI artifacts.

mod artifact;
pub mod command;
mod digest;
mod files;
pub mod image;
pub mod policy;
pub mod publish;
mod registry;
mod reproducible;
pub mod rust_target;
mod workspace;

pub use artifact::Artifact;
pub use digest::digest;
pub use registry::docker_config;
pub use workspace::{VERSION, copy_sources, target, workspace};
