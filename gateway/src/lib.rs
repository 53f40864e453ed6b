//! The gateway: it lets the owner of a desktop in, and nobody else.

pub mod activity;
pub mod cookie;
pub mod decide;
pub mod directory;
#[cfg(test)]
mod fixture;
pub mod proxy;
pub mod site;
pub mod token;
