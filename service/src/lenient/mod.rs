//! Objects as the API server sends them, parsed one by one. A typed list fails as a whole when one object can't be parsed, and
//! that happens: users can write timestamps that no type here can hold, and newer versions of this product add enum values.

mod custom;
mod metadata;

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::value::RawValue;

pub use self::{custom::Custom, metadata::metadata};

/// A `K`, or the identity of an object that can't be parsed as one.
#[derive(Clone, Debug)]
pub enum Lenient<K> {
    Parsed(K),
    Unreadable(Box<Unreadable>),
}

/// An object that could not be parsed: which one it is, and why.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Only name, namespace, uid and resource version.
    metadata: ObjectMeta,
    /// The parser's error, shortened.
    pub error: String,
    /// Its `status.conditions`, unparsed.
    pub conditions: Vec<serde_json::Value>,
    /// Its `status.url`, if it has one.
    pub url: Option<String>,
}

impl Unreadable {
    fn of(text: &str, error: String) -> Result<Self, serde_json::Error> {
        let Identified { metadata } = serde_json::from_str(text)?;
        // These themselves may be malformed.
        let status = serde_json::from_str(text).map(|Reported { status }| status).unwrap_or_default();
        let ReportedStatus { conditions, url } = status;
        let url = url.as_str().map(str::to_owned);
        Ok(Self { metadata: metadata.into(), error, conditions, url })
    }

    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Empty for a cluster-scoped object.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> Option<&str> {
        self.metadata.uid.as_deref()
    }

    pub fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}: {}", self.namespace(), self.name(), self.error)
    }
}

/// The API server validates or generates these, so they always parse.
#[derive(Deserialize)]
struct Identified {
    metadata: Identity,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    name: String,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl From<Identity> for ObjectMeta {
    fn from(Identity { name, namespace, uid, resource_version }: Identity) -> Self {
        Self { name: Some(name), namespace, uid, resource_version, ..Self::default() }
    }
}

#[derive(Deserialize)]
struct Reported {
    status: ReportedStatus,
}

#[derive(Default, Deserialize)]
struct ReportedStatus {
    #[serde(default)]
    conditions: Vec<serde_json::Value>,
    #[serde(default)]
    url: serde_json::Value,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Borrowed, not copied.
        let text = <&RawValue>::deserialize(deserializer)?.get();
        serde_json::from_str(text).map(Self::Parsed).or_else(|error| {
            let unreadable = Unreadable::of(text, words(&error)).map_err(D::Error::custom)?;
            Ok(Self::Unreadable(Box::new(unreadable)))
        })
    }
}

/// Shortens an error: it may quote what it found, which can be as long as an object and contain anything.
fn words(error: &serde_json::Error) -> String {
    const MOST: usize = 200;
    let whole = error.to_string();
    // Without the position in a text that nobody sees.
    let words = whole.rsplit_once(" at line ").map_or(&*whole, |(words, _)| words);
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    words.chars().take(MOST).map(printable).collect()
}

impl<K: Resource> Resource for Lenient<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Parsed(object) => object.meta(),
            Self::Unreadable(object) => &object.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Parsed(object) => object.meta_mut(),
            Self::Unreadable(object) => &mut object.metadata,
        }
    }
}

/// The items that [`kube::Resource`] and [`kube::runtime::reflector::Lookup`] have in common, delegated to `$whole`.
#[macro_export]
macro_rules! same_kind {
    ($whole:ty) => {
        type DynamicType = ();

        fn kind(_: &()) -> std::borrow::Cow<'_, str> {
            <$whole as kube::Resource>::kind(&())
        }

        fn group(_: &()) -> std::borrow::Cow<'_, str> {
            <$whole as kube::Resource>::group(&())
        }

        fn version(_: &()) -> std::borrow::Cow<'_, str> {
            <$whole as kube::Resource>::version(&())
        }

        fn plural(_: &()) -> std::borrow::Cow<'_, str> {
            <$whole as kube::Resource>::plural(&())
        }
    };
}

/// Implements [`kube::Resource`] for a type with a part of a resource's fields. The type needs a field `metadata`.
#[macro_export]
macro_rules! same_resource {
    ($part:ty, $whole:ty) => {
        impl kube::Resource for $part {
            type Scope = <$whole as kube::Resource>::Scope;
            $crate::same_kind!($whole);

            fn meta(&self) -> &kube::api::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut kube::api::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

#[cfg(test)]
mod tests;
