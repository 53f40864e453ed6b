//! The gateway: lets the owner of a desktop in, and nobody else.
//!
//! Modules form layers, and imports only point down:
//!
//! | | |
//! |---|---|
//! | [`serve`] | the servers: connections, routes, answers |
//! | [`pages`], [`proxy`] | what is answered: the gateway's own pages, or what the desktop says |
//! | [`kubernetes`], [`oidc`], [`metrics`] | the rim: the API server, the OpenID provider, Prometheus |
//! | [`access`] | who may pass, and how many at a time: no I/O |
//! | [`sessions`], [`token`], [`activity`], [`request`] | what decisions are made from |

#![deny(clippy::disallowed_methods)]

pub mod access;
pub mod activity;
#[cfg(test)]
mod fixture;
pub mod kubernetes;
pub mod metrics;
pub mod oidc;
pub mod pages;
pub mod proxy;
pub mod request;
pub mod serve;
pub mod sessions;
pub mod token;
