//! Signing tokens.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header};
use ring::rand::{SecureRandom, SystemRandom};

use super::{
    base64url::base64url,
    claims::{Claims, Grant},
    ring::{KeyRing, Schedule},
};

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("no signing key yet")]
    NoKey,
    #[error("no random numbers from the operating system")]
    NoRandomness,
    #[error("signing: {0}")]
    Jwt(#[from] jsonwebtoken::errors::Error),
}

/// A token for this grant, valid from now on.
pub fn sign(grant: &Grant, keys: &KeyRing, schedule: &Schedule, now: Timestamp) -> Result<String, SignError> {
    let key = schedule.signing(keys, now).ok_or(SignError::NoKey)?;
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| SignError::NoRandomness)?;
    let header = Header { kid: Some(key.id.to_string()), ..Header::new(Algorithm::ES256) };
    Ok(jsonwebtoken::encode(&header, &Claims::of(grant, base64url(&id), now), &key.signing)?)
}
