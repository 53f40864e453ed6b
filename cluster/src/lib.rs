//! A real Kubernetes on one machine, for the demo and the tests.
//!
//! ```no_run
//! # async fn example() -> Result<(), vdi_cluster::Error> {
//! use vdi_cluster::{ControlPlane, SimulatedNodes, User};
//!
//! let alice = User::new("alice@example.com", ["vdi-users"]);
//! let cluster = ControlPlane::start("target/clusters/example", &[alice.clone()]).await?;
//! let nodes = SimulatedNodes::start(&cluster, 3, 8).await?;
//! let client = cluster.client(&alice).await?;
//! # Ok(()) }
//! ```
//!
//! Its default storage class, `standard`, creates volumes on this machine, for pods on simulated and real nodes alike.
//!
//! Everything is removed when its owner is dropped, or dies in any way; only the logs stay.

mod binaries;
mod certificates;
mod command;
mod control_plane;
mod credentials;
mod error;
mod files;
mod forwarder;
mod guard;
mod kubeconfig;
mod load_balancer;
pub mod packages;
mod privileges;
pub mod progress;
mod real;
mod secrets;
mod servers;
mod services;
mod simulated;
mod storage;
mod users;
mod wait;

pub use binaries::{Program, cache_directory};
pub use control_plane::{ControlPlane, free_port};
pub use error::Error;
pub use guard::{Launch, Server};
pub use load_balancer::LoadBalancer;
pub use privileges::is_root;
pub use real::{RealNode, RealNodeOptions};
pub use simulated::SimulatedNodes;
pub use users::User;
