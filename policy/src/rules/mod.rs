//! The rule table, and the functions in it.

mod budget;
mod desktop;
mod identity;
mod immutable;
mod orphans;
mod rule;
mod session;
mod table;
mod template;

pub use rule::{Context, Field, Rule, When};
pub use table::RULES;
