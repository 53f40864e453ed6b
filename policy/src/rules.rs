//! The rule table.

mod immutable;
mod session;
pub mod template;

use serde_json::Value;
use vdi_api::Invalid;

use crate::settings::Settings;

/// One rule. All rules run on every request, and one answer lists what each of them found.
pub struct Rule {
    /// What it is called in messages and in the setting `rules`. Never changes.
    pub id: &'static str,
    /// The fields that it reads, one after the other.
    pub fields: &'static [&'static str],
    /// What it does unless `rules` says otherwise.
    pub mode: Mode,
    pub check: fn(&Field, &Settings) -> Result<(), Invalid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A violation rejects the request.
    Enforce,
    /// A violation is a warning to the client.
    Warn,
    Off,
}

/// A field as a rule sees it.
pub struct Field<'a> {
    /// `None` when it is absent.
    pub value: Option<&'a Value>,
    /// What it was; `None` when the session is new. Never the same as `value`.
    pub old: Option<Option<&'a Value>>,
}

pub const RULES: &[Rule] = &[
    Rule { id: "user-format", fields: &["spec.user"], mode: Mode::Enforce, check: session::user_format },
    Rule { id: "template-allowed", fields: &["spec.template"], mode: Mode::Enforce, check: template::allowed },
    Rule { id: "gpu-range", fields: &["spec.resources.gpu"], mode: Mode::Enforce, check: session::gpu_range },
    Rule { id: "memory-range", fields: &["spec.resources.memory"], mode: Mode::Enforce, check: session::memory_range },
    Rule { id: "timeout-range", fields: &["spec.timeout"], mode: Mode::Enforce, check: session::timeout_range },
    Rule {
        id: "immutable-fields",
        fields: &["spec.user", "spec.template", "spec.resources.gpu", "spec.resources.memory"],
        mode: Mode::Enforce,
        check: immutable::unchanged,
    },
];
