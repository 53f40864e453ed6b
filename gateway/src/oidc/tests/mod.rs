//! A provider that answers anything, and what the gateway makes of it.

mod accounts;
mod addresses;
mod answers;
mod fake;
mod tokens;
