//! The gateway: it lets the owner of a desktop in, and nobody else.

#![deny(clippy::disallowed_methods)]

pub mod activity;
pub mod cookie;
pub mod decide;
pub mod directory;
mod extend;
#[cfg(test)]
mod fixture;
pub mod keys;
pub mod launch;
mod login;
pub mod metrics;
pub mod oidc;
mod origin;
pub mod proxy;
pub mod questions;
pub mod serve;
pub mod session;
pub mod site;
pub mod token;
mod view;
pub mod visitors;
pub mod watch;
