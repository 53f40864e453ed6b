//! Turns what is known about sessions into what the cluster has.

mod apply;
mod controller;
mod expectations;
mod observe;
mod orphans;
mod pass;
mod publish;
mod template_status;
mod unreadable;

pub use controller::run;
pub use expectations::Expectations;
pub use pass::Context;
