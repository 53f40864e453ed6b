//! The Kubewarden admission policy for `VDISession`s and `VDITemplate`s.
//!
//! [`review::validate`] turns the bytes that a policy server sends into its answer. It is pure, except for calls to
//! [`host::Host`]. This file only connects it to waPC, the calling convention of Kubewarden's modules.

mod broker;
mod field;
pub mod host;
mod mode;
mod mutation;
pub mod request;
pub mod review;
pub mod rules;
pub mod setting;
pub mod settings;
mod site;
pub mod values;
mod verdict;

use kubewarden_policy_sdk::{protocol_version_guest, response::ValidationResponse};
use serde_json::Value;
use wapc_guest::{CallResult, host_call, register_function};

pub use mode::Mode;
pub use verdict::{Answer, Code, Verdict};

// waPC finds this function by its name. The attribute is unsafe only because no other symbol may have that name.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn wapc_init() {
    register_function("validate", |payload| {
        Ok(serde_json::to_vec(&ValidationResponse::from(review::validate(payload, &PolicyServer)))?)
    });
    register_function("validate_settings", validate_settings);
    register_function("protocol_version", protocol_version_guest);
}

fn validate_settings(payload: &[u8]) -> CallResult {
    Ok(serde_json::to_vec(&settings::validate(payload))?)
}

/// The policy server that runs this module.
struct PolicyServer;

impl host::Host for PolicyServer {
    fn kubernetes(&self, operation: &str, request: &Value) -> Result<Value, String> {
        let answer = host_call("kubewarden", "kubernetes", operation, request.to_string().as_bytes())
            .map_err(|error| error.to_string())?;
        serde_json::from_slice(&answer).map_err(|error| format!("the host's answer to kubernetes/{operation}: {error}"))
    }
}
