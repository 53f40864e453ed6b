use serde_json::Value;
use vdi_api::Invalid;

use crate::{
    host::Host,
    mode::Mode,
    request::{Kind, Object, Request},
    site::Site,
    verdict::Code,
};

/// One rule. All rules run on every request, and one answer lists what each of them found.
pub struct Rule {
    /// What it is called in messages and in the setting `rules`. Never changes.
    pub id: &'static str,
    /// What it holds, in a sentence.
    pub about: &'static str,
    pub kind: Kind,
    /// The fields that it reads, one after the other.
    pub fields: &'static [&'static str],
    /// What it does unless `rules` says otherwise.
    pub mode: Mode,
    /// What a violation is to the client.
    pub code: Code,
    pub when: When,
    pub check: fn(&Field, &Context) -> Result<(), Invalid>,
}

/// On which requests a rule looks at a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On those that give it a value or change it: settings that have become stricter must not keep the controller from
    /// releasing a session that was fine when it was made. The API server's own validation ratchets in the same way
    /// (KEP-4008).
    Changed,
    /// On all, deletes included.
    Always,
}

/// A field as a rule sees it.
pub struct Field<'a> {
    pub path: &'static str,
    /// `None` when it is absent.
    pub value: Option<&'a Value>,
    /// What it was; `None` when the object is new. Where the rule looks at changes, never the same as `value`.
    pub old: Option<Option<&'a Value>>,
}

/// What a rule may look at besides its field.
pub struct Context<'a> {
    pub request: &'a Request<'a>,
    /// As it will be stored. On a delete, as it is stored.
    pub object: &'a Object,
    pub site: &'a Site,
    pub host: &'a dyn Host,
}
