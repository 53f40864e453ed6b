//! Whether a token is valid here and now. It fails closed: a token that is not exactly as this gateway makes them is
//! refused.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use serde::Deserialize;

use super::{
    base64url::decode,
    claims::{Claims, Purpose, SKEW, seconds},
    ring::KeyRing,
};

/// A token of ours has about 600 bytes; a much longer one is not even read.
pub const LONGEST: usize = 2048;

/// Why a token is refused. For logs and metrics: its sender only learns that they have to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    #[error("longer than any token of this gateway")]
    TooLong,
    #[error("not three parts in base64url, the first two of them JSON")]
    Malformed,
    #[error("the header is not exactly alg ES256, typ JWT and a kid")]
    Header,
    #[error("the key is unknown, or has been removed")]
    UnknownKey,
    #[error("wrong signature")]
    Signature,
    #[error("the claims are not exactly those of this gateway's tokens")]
    Claims,
    #[error("from another issuer")]
    Issuer,
    #[error("for another session or purpose")]
    Audience,
    #[error("for another host")]
    Host,
    #[error("not valid yet")]
    NotYet,
    #[error("expired")]
    Expired,
    #[error("lives longer than any token of this gateway")]
    TooLongLived,
}

/// What a token must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub purpose: Purpose,
    pub issuer: &'a str,
    /// `None` for any session.
    pub session_uid: Option<&'a str>,
    pub host: &'a str,
}

/// RFC 7515 allows more fields, such as keys to verify with (`jwk`, `jku`, `x5c`) and mandatory extensions (`crit`).
/// This gateway's tokens have none of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// The claims of a valid token.
pub fn verify(token: &str, keys: &KeyRing, expected: &Expected, now: Timestamp) -> Result<Claims, TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::TooLong);
    }
    let header = token.split('.').next().and_then(decode).ok_or(TokenError::Malformed)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Header)?;
    // Only compared: no token chooses its own algorithm.
    if header.alg != "ES256" || header.typ != "JWT" {
        return Err(TokenError::Header);
    }
    let key = keys.get(&header.kid).ok_or(TokenError::UnknownKey)?;
    let claims = match jsonwebtoken::decode::<Claims>(token, &key.verifying, &signature_alone()) {
        Ok(token) => token.claims,
        Err(error) => {
            return Err(match error.kind() {
                ErrorKind::InvalidSignature => TokenError::Signature,
                ErrorKind::Json(_) => TokenError::Claims,
                _ => TokenError::Malformed,
            });
        }
    };
    check(&claims, expected, now)?;
    Ok(claims)
}

/// The claims are checked below, by the caller's clock.
fn signature_alone() -> Validation {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

fn check(claims: &Claims, expected: &Expected, now: Timestamp) -> Result<(), TokenError> {
    let time = |seconds| Timestamp::from_second(seconds).map_err(|_| TokenError::Claims);
    let (iat, nbf, exp) = (time(claims.iat)?, time(claims.nbf)?, time(claims.exp)?);
    let skew = SignedDuration::try_from(SKEW).unwrap_or_default();
    let (early, late) = (now.saturating_add(skew), now.saturating_sub(skew));
    let (Ok(early), Ok(late)) = (early, late) else { return Err(TokenError::Claims) };
    let wrong = [
        (claims.iss != expected.issuer, TokenError::Issuer),
        (!claims.aud.is_for(expected.purpose, expected.session_uid), TokenError::Audience),
        (claims.host != expected.host, TokenError::Host),
        (nbf > early || iat > early, TokenError::NotYet),
        (exp <= late, TokenError::Expired),
        (claims.auth_time > claims.iat, TokenError::Claims),
        (claims.exp.saturating_sub(claims.iat) > seconds(expected.purpose.longest()), TokenError::TooLongLived),
        (claims.exp > claims.sign_in_ends(), TokenError::TooLongLived),
    ];
    match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}
