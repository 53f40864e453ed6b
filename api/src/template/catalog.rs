use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a template should no longer be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deprecation {
    /// The message that people see.
    #[schemars(length(min = 1, max = 500))]
    pub message: String,

    /// The name of the template to use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub replacement: Option<String>,
}
