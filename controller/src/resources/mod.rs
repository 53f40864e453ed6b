//! What a session is made of in the cluster: one builder a kind, from inputs that are already valid.

mod pod;

pub use pod::{pod, pod_name, pod_name_taken};

/// The label selector of everything that this controller makes.
pub const OURS: &str = "app.kubernetes.io/managed-by=vdiwarden";
