//! Container images: those of the controller and the gateway, built here, and any other that is an OCI archive.

mod architecture;
mod archive;
mod build;
mod certificates;
mod compile;
mod elf;
#[expect(clippy::module_inception, reason = "it is what the module is about")]
mod image;
mod index;
pub(crate) mod layer;
mod origin;
mod pack;
mod program;
mod push;

pub use architecture::Architecture;
pub use build::Sources;
pub use compile::Profile;
pub use image::Image;
pub use index::{Packed, REGISTRY, index};
pub use origin::Origin;
pub use pack::pack;
pub use program::Program;
pub use push::push;
