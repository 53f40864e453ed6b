//! The invariants hold for the policy's answer to any payload. The payload also has the host's answers, under `host`, which the
//! policy doesn't read.

#![no_main]

use kubewarden_policy_sdk::response::ValidationResponse;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use vdisession_policy::{host::Host, review};

#[path = "../../tests/src/policy/invariants.rs"]
mod invariants;

struct Played(Value);

impl Host for Played {
    fn kubernetes(&self, operation: &str, _: &Value) -> Result<Value, String> {
        match &self.0[operation] {
            Value::Null => Err("denied".to_owned()),
            Value::String(error) => Err(error.clone()),
            answer => Ok(answer.clone()),
        }
    }
}

fuzz_target!(|payload: &[u8]| {
    let host = Played(serde_json::from_slice(payload).map_or(Value::Null, |payload: Value| payload["host"].clone()));
    let ask = |payload: &[u8]| json!(ValidationResponse::from(review::validate(payload, &host)));
    if let Err(why) = invariants::check(payload, &ask(payload), ask) {
        panic!("{why}");
    }
});
