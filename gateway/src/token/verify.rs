//! Whether a token is good here and now. It fails closed: whatever isn't exactly as this gateway makes it is refused.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use serde::Deserialize;

use super::{
    claims::{Claims, Purpose, seconds},
    decode_segment,
    ring::KeyRing,
};

/// How far the clocks of two replicas may be apart.
pub const SKEW: Duration = Duration::from_secs(30);
/// A token of ours has about 600 bytes; what is much longer isn't looked at.
pub const MOST: usize = 2048;

/// Why a token is refused. For logs and metrics: who sent it is told nothing but that they have to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    #[error("it is longer than any token of ours")]
    TooLong,
    #[error("it is not three parts in base64url, of which the first two are JSON")]
    Malformed,
    #[error("its header is not alg ES256, typ JWT and a kid, and nothing else")]
    Header,
    #[error("its key is none of ours, or no longer")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("its claims are not those of our tokens, each once")]
    Claims,
    #[error("it is from another issuer")]
    Issuer,
    #[error("it is for another session, or for something else")]
    Audience,
    #[error("it is for another host")]
    Host,
    #[error("it is not good yet")]
    NotYet,
    #[error("it has expired")]
    Expired,
    #[error("it lives longer than any token of ours")]
    TooLongLived,
}

/// What a token has to be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub purpose: Purpose,
    pub issuer: &'a str,
    /// `None` for any session.
    pub session_uid: Option<&'a str>,
    pub host: &'a str,
}

/// By RFC 7515 there may be more in it, such as keys to verify with (`jwk`, `jku`, `x5c`) and extensions that have to be
/// understood (`crit`). None of that is ever ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// The claims of a token that is good.
pub fn verify(token: &str, keys: &KeyRing, expected: &Expected, now: Timestamp) -> Result<Claims, Refused> {
    if token.len() > MOST {
        return Err(Refused::TooLong);
    }
    let header = token.split('.').next().and_then(decode_segment).ok_or(Refused::Malformed)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| Refused::Header)?;
    // Compared, not chosen by: there is no token that could name its own algorithm.
    if header.alg != "ES256" || header.typ != "JWT" {
        return Err(Refused::Header);
    }
    let key = keys.get(&header.kid).ok_or(Refused::UnknownKey)?;
    let claims = match jsonwebtoken::decode::<Claims>(token, &key.verifying, &signature_alone()) {
        Ok(token) => token.claims,
        Err(error) => {
            return Err(match error.kind() {
                ErrorKind::InvalidSignature => Refused::Signature,
                ErrorKind::Json(_) => Refused::Claims,
                _ => Refused::Malformed,
            });
        }
    };
    check(&claims, expected, now)?;
    Ok(claims)
}

/// The rest is checked here, by the caller's clock.
fn signature_alone() -> Validation {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

fn check(claims: &Claims, expected: &Expected, now: Timestamp) -> Result<(), Refused> {
    let time = |seconds| Timestamp::from_second(seconds).map_err(|_| Refused::Claims);
    let (iat, nbf, exp) = (time(claims.iat)?, time(claims.nbf)?, time(claims.exp)?);
    let skew = SignedDuration::try_from(SKEW).unwrap_or_default();
    let (early, late) = (now.saturating_add(skew), now.saturating_sub(skew));
    let (Ok(early), Ok(late)) = (early, late) else { return Err(Refused::Claims) };
    let wrong = [
        (claims.iss != expected.issuer, Refused::Issuer),
        (!claims.aud.is_for(expected.purpose, expected.session_uid), Refused::Audience),
        (claims.host != expected.host, Refused::Host),
        (nbf > early || iat > early, Refused::NotYet),
        (exp <= late, Refused::Expired),
        (claims.auth_time > claims.iat, Refused::Claims),
        (claims.exp.saturating_sub(claims.iat) > seconds(expected.purpose.longest()), Refused::TooLongLived),
        (claims.exp > claims.sign_in_ends(), Refused::TooLongLived),
    ];
    match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
        Some((_, refused)) => Err(refused),
        None => Ok(()),
    }
}
