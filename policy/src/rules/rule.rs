use serde_json::Value;
use vdi_api::Invalid;

use crate::{
    host::Host,
    mode::Mode,
    request::{Kind, Object, Request},
    site::Site,
    verdict::Code,
};

/// One rule. All rules run on every request, and one answer lists all violations.
pub struct Rule {
    /// Its name in messages and in the setting `rules`. Never changes.
    pub id: &'static str,
    /// What it requires, in a sentence.
    pub about: &'static str,
    pub kind: Kind,
    /// The fields that it checks, one at a time.
    pub fields: &'static [&'static str],
    /// What it does about a violation unless the setting `rules` overrides it.
    pub mode: Mode,
    /// The HTTP status of a rejection.
    pub code: Code,
    pub when: When,
    pub check: fn(&Field, &Context) -> Result<(), Invalid>,
}

/// On which requests a rule checks a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On those that set or change it: stricter settings must not keep the controller from releasing a session that was
    /// valid when it was created. The API server's own validation ratchets in the same way (KEP-4008).
    Changed,
    /// On all, including deletes.
    Always,
}

/// The field that a rule checks.
pub struct Field<'a> {
    pub path: &'static str,
    /// `None` when it is absent.
    pub value: Option<&'a Value>,
    /// Its old value; `None` when the object is new. With [`When::Changed`] it never equals `value`.
    pub old: Option<Option<&'a Value>>,
}

/// What a rule may read besides its field.
pub struct Context<'a> {
    pub request: &'a Request<'a>,
    /// The object as it will be stored, or on a delete, as it is stored.
    pub object: &'a Object,
    pub site: &'a Site,
    pub host: &'a dyn Host,
}
