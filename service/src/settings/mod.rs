//! Settings by flag, environment variable and file. Values from the environment and the file are turned into flags, so that one
//! parser reads them all, and settings that depend on each other can come from different sources.

mod docs;
mod every_way;
mod schema;
mod sources;

pub use docs::check_docs;
pub use every_way::check_every_way;
pub use schema::check_schema;
pub use sources::{load, own_namespace, parse};
