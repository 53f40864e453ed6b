//! The login token, which shows the portal who is signed in.

use http::request::Parts;
use jiff::Timestamp;

use crate::{
    oidc::Account,
    request::cookie,
    serve::{gateway::Gateway, refusal::Refusal},
    token::{Claims, Expected, Grant, Purpose, verify},
};

/// What a login token is for, where a session token names a session.
pub const LOGIN_AUDIENCE: &str = "portal";

/// A login token for this account.
pub fn sign(gateway: &Gateway, account: &Account) -> Result<String, Refusal> {
    let issuer = gateway.issuer();
    let grant = Grant {
        purpose: Purpose::Login,
        issuer: &issuer,
        session_uid: LOGIN_AUDIENCE,
        subject: &account.subject,
        email: &account.email,
        host: gateway.public.domain(),
        session_ends: None,
        signed_in: None,
    };
    Ok(gateway.sign(&grant, &*gateway.ring()?)?)
}

/// The claims of the person who is signed in, if any.
pub fn claims(gateway: &Gateway, head: &Parts) -> Result<Option<Claims>, Refusal> {
    let keys = gateway.ring()?;
    let Some(token) = cookie::of(&head.headers, cookie::LOGIN) else { return Ok(None) };
    let (issuer, host) = (gateway.issuer(), gateway.public.domain());
    let expected = Expected { purpose: Purpose::Login, issuer: &issuer, session_uid: Some(LOGIN_AUDIENCE), host };
    Ok(verify(&token, &keys, &expected, Timestamp::now()).ok())
}
