//! The host capabilities that a policy may call, and where the answers come from.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// Answers a policy's calls to its host.
pub trait Capabilities: Send + Sync {
    /// `capability` is for example `kubernetes/can_i`; `request` and the answer are JSON.
    ///
    /// # Errors
    /// The error that the policy gets instead of an answer.
    fn call(&self, capability: &str, request: &[u8]) -> Result<Vec<u8>>;
}

/// Kubewarden's error for a capability that is not granted.
pub fn denied(capability: &str) -> anyhow::Error {
    anyhow!(
        "Policy has not been granted access to the '{capability}' host capability. The violation has been reported."
    )
}

/// The answers of a test, by capability; others are denied. An answer is the JSON that the policy gets,
/// or `{"$error": "..."}`, `{"$raw": "no JSON"}`, `{"$slow": milliseconds, "answer": {...}}`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Played(pub BTreeMap<String, Value>);

impl Played {
    pub fn nobody_may_assign_user() -> Self {
        Self([("kubernetes/can_i".to_owned(), json!({"allowed": false}))].into())
    }
}

impl Capabilities for Played {
    fn call(&self, capability: &str, _: &[u8]) -> Result<Vec<u8>> {
        let answer = self.0.get(capability).ok_or_else(|| denied(capability))?;
        if let Some(error) = answer.get("$error").and_then(Value::as_str) {
            bail!("{error}");
        }
        if let Some(raw) = answer.get("$raw").and_then(Value::as_str) {
            return Ok(raw.into());
        }
        if let Some(time) = answer.get("$slow").and_then(Value::as_u64) {
            thread::sleep(Duration::from_millis(time));
            return Ok(answer["answer"].to_string().into());
        }
        Ok(answer.to_string().into())
    }
}
