//! A provider that says whatever it likes, and what the gateway makes of it.

mod accounts;
mod addresses;
mod answers;
mod fake;
mod tokens;
