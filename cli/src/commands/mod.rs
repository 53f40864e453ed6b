//! One file a command.

pub mod completion;
pub mod extend;
pub mod list;
pub mod open;
pub mod start;
pub mod stop;
pub mod suspend;
pub mod templates;
pub mod top;
pub mod why;
