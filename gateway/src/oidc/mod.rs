//! Signing in at an [OpenID provider], by the authorization code flow with PKCE.
//!
//! [OpenID provider]: https://openid.net/specs/openid-connect-core-1_0.html

mod address;
mod attempt;
mod http;
mod provider;
#[cfg(test)]
mod tests;
mod verified;

pub use openidconnect::{IssuerUrl, RedirectUrl};

pub use self::{
    address::parse_issuer,
    attempt::Attempt,
    http::CertificateError,
    provider::{Account, Client, Provider, SignInError},
    verified::EMAIL_VERIFIED,
};
