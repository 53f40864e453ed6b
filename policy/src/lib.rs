//! The Kubewarden admission policy for `VDISession`s.
//!
//! Everything but this file is pure: [`review::validate`] takes the bytes that a policy server sends and says what the
//! answer is. Here it is only connected to waPC, the calling convention of Kubewarden's modules.

mod defaults;
mod field;
mod range;
mod request;
pub mod review;
pub mod rules;
pub mod settings;
mod verdict;

use kubewarden_policy_sdk::{protocol_version_guest, response::ValidationResponse};
use wapc_guest::{CallResult, register_function};

pub use verdict::Verdict;

// waPC finds this function by its name. That is all there is to the attribute's unsafety: no other symbol may have it.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn wapc_init() {
    register_function("validate", |payload| {
        Ok(serde_json::to_vec(&ValidationResponse::from(review::validate(payload)))?)
    });
    register_function("validate_settings", validate_settings);
    register_function("protocol_version", protocol_version_guest);
}

fn validate_settings(payload: &[u8]) -> CallResult {
    Ok(serde_json::to_vec(&settings::validate(payload))?)
}
