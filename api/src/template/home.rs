use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::memory::Memory;

/// A volume for the user's own files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Home {
    /// Where the image expects the home.
    #[schemars(regex(pattern = "^/"), length(min = 2, max = 1024))]
    pub mount_path: String,

    /// The size of the volume. Changes apply to homes that are created later.
    #[serde(default = "default_size")]
    #[schemars(with = "Memory")]
    pub size: String,

    /// Defaults to the cluster's default StorageClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,

    /// Two desktops can use one home at the same time only with `ReadWriteMany`.
    #[serde(default)]
    pub access_mode: HomeAccess,

    /// `User`: one home for each user and namespace, shared by all templates. `Template`: one for each user, namespace and
    /// template. Neither is ever deleted by vdiwarden. `Session`: the session's own, deleted with it.
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
