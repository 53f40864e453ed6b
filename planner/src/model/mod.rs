//! What is known about a session, as values that can't be wrong.

mod gpu_queue;
mod home;
mod idle;
mod login;
mod observed;
mod pinned_template;
mod pod_state;
mod pod_status;
mod reason;
mod renderer;
mod session;
mod template;
pub mod time;

pub use gpu_queue::Place;
pub use home::HomeState;
pub use idle::Idle;
pub use login::Login;
pub use observed::Observed;
pub use pinned_template::PinnedTemplate;
pub use pod_state::{End, PodState, Trouble, Wait};
pub use pod_status::PodStatus;
pub use reason::{Event, Reason};
pub use renderer::Renderer;
pub use session::{Deletion, FieldInvalid, Spec};
pub use template::{GpuSource, Home, Probe, Template};
