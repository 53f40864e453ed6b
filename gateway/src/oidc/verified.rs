//! Whether the provider says that an e-mail address is its account's.

use std::collections::HashMap;

use openidconnect::AdditionalClaims;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The claim of [OpenID Connect]. It is a boolean there, and whatever else is refused.
///
/// [OpenID Connect]: https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims
pub const EMAIL_VERIFIED: &str = "email_verified";

/// What a provider says of an account besides the standard claims.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FurtherClaims {
    #[serde(flatten)]
    claims: HashMap<String, Value>,
}

impl AdditionalClaims for FurtherClaims {}

impl FurtherClaims {
    /// Whether the claim with this name says that the address is verified, `None` without it; `standard` is `email_verified`,
    /// beside them.
    pub fn verify(&self, claim: &str, standard: Option<bool>) -> Option<bool> {
        match standard {
            // Whichever claim is asked for: the provider says that the address may be anybody's.
            Some(false) => Some(false),
            standard if claim == EMAIL_VERIFIED => standard,
            _ => self.claims.get(claim).filter(|value| !value.is_null()).map(is_true),
        }
    }
}

/// Microsoft Entra ID's `xms_edov` is documented as a boolean, and is a number or text in some tokens.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(is_true) => *is_true,
        Value::Number(number) => number.as_u64() == Some(1),
        Value::String(text) => matches!(&**text, "true" | "1"),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}
