//! The custom resources `VDISession` and `VDITemplate`.
//!
//! Every rule about a value (what an e-mail address is, what `8h` means) is written once, in a type that can't hold anything
//! else: [`Cidr`], [`Cpu`], [`Email`], [`Gpus`], [`Memory`], [`SessionName`], [`Timeout`]. The CRD schema, the admission
//! policy, the controller and the gateway all use these types.
//!
//! Without features the crate depends on neither kube nor k8s-openapi, which keeps the policy's wasm module small. The
//! feature `crd` adds the Kubernetes objects and their CRDs.

mod activity;
mod cidr;
mod cpu;
pub mod desktop_pod;
mod email;
mod explanation;
mod gpus;
mod host_label;
mod invalid;
mod memory;
mod metadata_service;
mod printable;
mod session_name;
mod timeout;

#[cfg(feature = "crd")]
pub mod crds;
#[cfg(feature = "crd")]
mod schema;
#[cfg(feature = "crd")]
mod session;
#[cfg(feature = "crd")]
mod template;

pub use activity::Activity;
pub use cidr::Cidr;
pub use cpu::Cpu;
pub use email::Email;
pub use explanation::{Explanation, explanation};
pub use gpus::Gpus;
pub use host_label::HostLabel;
pub use invalid::Invalid;
pub use memory::Memory;
pub use metadata_service::METADATA_ADDRESSES;
pub use printable::printable;
pub use session_name::SessionName;
pub use timeout::Timeout;

#[cfg(feature = "crd")]
pub use session::{Expiry, Phase, QueueStatus, SessionResources, VDISession, VDISessionSpec, VDISessionStatus};
#[cfg(feature = "crd")]
pub use template::{
    BasicAuth, Capacity, CpuAmounts, Deprecation, EnvVar, GpuPlacement, Home, HomeAccess, HomeScope, NetworkAccess,
    Probe, ProbeKind, Protocol, PullPolicy, Reachable, SecurityProfile, VDITemplate, VDITemplateSpec,
    VDITemplateStatus,
};

/// The API group of every kind in this crate.
pub const GROUP: &str = "vdi.kasm.io";
/// The API version of every kind in this crate.
pub const VERSION: &str = "v1alpha1";
