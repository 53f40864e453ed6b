//! The policy without wasm: the same code, compiled for this machine.

use anyhow::Result;
use kubewarden_policy_sdk::response::ValidationResponse;
use serde_json::{Value, json};
use vdisession_policy::{host::Host, review};

use super::{capabilities::Capabilities, host::PolicyResponse};

struct NativeHost<'a>(&'a dyn Capabilities);

impl Host for NativeHost<'_> {
    fn kubernetes(&self, operation: &str, request: &Value) -> Result<Value, String> {
        let capability = format!("kubernetes/{operation}");
        let answer =
            self.0.call(&capability, request.to_string().as_bytes()).map_err(|error| format!("Host error: {error}"))?;
        serde_json::from_slice(&answer).map_err(|error| format!("the host's answer to {capability}: {error}"))
    }
}

/// As [`PolicyHost::validate`](super::PolicyHost::validate).
///
/// # Errors
/// When the answer can't be serialized, which doesn't happen.
pub fn validate(request: &Value, settings: &Value, capabilities: &dyn Capabilities) -> Result<PolicyResponse> {
    validate_raw(&serde_json::to_vec(&json!({"request": request, "settings": settings}))?, capabilities)
}

/// Reviews a payload, however malformed.
///
/// # Errors
/// As [`validate`].
pub fn validate_raw(payload: &[u8], capabilities: &dyn Capabilities) -> Result<PolicyResponse> {
    let response = ValidationResponse::from(review::validate(payload, &NativeHost(capabilities)));
    Ok(serde_json::from_value(serde_json::to_value(response)?)?)
}
