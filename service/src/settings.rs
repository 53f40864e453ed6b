//! Settings by flag, environment variable and file.

mod every_way;
mod sources;

pub use every_way::check_every_way;
pub use sources::{load, own_namespace, parse, table};
