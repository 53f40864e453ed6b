//! The gateway: it lets the owner of a desktop in, and nobody else.

pub mod cookie;
pub mod decide;
pub mod site;
pub mod token;
