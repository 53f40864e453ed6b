use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::memory::Memory;

/// A volume for the user's own files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Home {
    /// Where the image expects it.
    #[schemars(regex(pattern = "^/"), length(min = 2, max = 1024))]
    pub mount_path: String,

    /// How large it is made. A change counts for homes that are made after it.
    #[serde(default = "default_size")]
    #[schemars(with = "Memory")]
    pub size: String,

    /// The cluster's default, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,

    /// Whether two desktops can use one home at a time: only with `ReadWriteMany`.
    #[serde(default)]
    pub access_mode: HomeAccess,

    /// Whose it is. `User`: one a user and namespace, the same for all templates. `Template`: one a user, namespace and
    /// template. Both are never deleted by this software. `Session`: the session's own, deleted with it.
    #[serde(default)]
    pub scope: HomeScope,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HomeAccess {
    #[default]
    ReadWriteOnce,
    ReadWriteOncePod,
    ReadWriteMany,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HomeScope {
    #[default]
    User,
    Template,
    Session,
}

fn default_size() -> String {
    "10Gi".to_owned()
}
