//! How settings are declared and read. The settings' JSON schema, Rancher's form and the table in docs/policy.md are
//! generated from the same declarations.

mod at;
mod count;
mod range;
mod read;
mod shape;

pub use at::{At, Findings};
pub use count::Count;
pub use range::Range;
pub use read::Setting;
pub(crate) use read::{scalars, section};
pub use shape::{Member, Shape};
