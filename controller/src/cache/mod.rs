//! The cluster as the watches show it, kept in memory.

mod concerns;
mod lookup;
mod node_size;
mod other_pods;
mod partial;
mod partial_pod;
mod pod_summary;
mod session_view;
mod stores;
mod termination_reasons;
mod watch;
mod workqueue;

pub use concerns::all;
pub use partial::{PartialClaim, PartialEvent};
#[cfg(test)]
pub use partial_pod::PartialPod;
pub use pod_summary::{Owner, PodSummary};
pub use session_view::SessionView;
pub use stores::Stores;
pub use watch::watch;
pub use workqueue::Workqueue;
