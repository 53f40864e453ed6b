//! An object as the API server sends it. One that can't be parsed keeps no other from being read: a list is parsed as a whole,
//! and a user may write times that no type here can hold, a newer version of this product words that this one doesn't know.

mod custom;
mod metadata;

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::value::RawValue;

pub use self::{custom::Custom, metadata::metadata};

/// `K`, or what is left of an object that no `K` can be made of.
#[derive(Clone, Debug)]
pub enum Lenient<K> {
    Parsed(K),
    Unreadable(Box<Unreadable>),
}

/// Which object it is, and why that is all that is known.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Name, namespace, uid and version, and nothing else.
    metadata: ObjectMeta,
    /// What is wrong, in a few words.
    pub error: String,
    /// What it has in `status.conditions`, as it was sent.
    pub conditions: Vec<serde_json::Value>,
}

impl Unreadable {
    fn of(text: &str, error: String) -> Result<Self, serde_json::Error> {
        let Identified { metadata } = serde_json::from_str(text)?;
        // They may be what is wrong.
        let conditions = serde_json::from_str(text).map(|Told { status }| status.conditions).unwrap_or_default();
        Ok(Self { metadata: metadata.into(), error, conditions })
    }

    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Empty for an object of the whole cluster.
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

/// The API server makes these itself, so they can be relied upon.
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
struct Told {
    status: ToldStatus,
}

#[derive(Deserialize)]
struct ToldStatus {
    #[serde(default)]
    conditions: Vec<serde_json::Value>,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Where it lies, not copied.
        let text = <&RawValue>::deserialize(deserializer)?.get();
        serde_json::from_str(text).map(Self::Parsed).or_else(|error| {
            let unreadable = Unreadable::of(text, words(&error)).map_err(D::Error::custom)?;
            Ok(Self::Unreadable(Box::new(unreadable)))
        })
    }
}

/// An error may repeat what it found, which can be as long as an object and hold anything.
fn words(error: &serde_json::Error) -> String {
    const MOST: usize = 200;
    let whole = error.to_string();
    // Where in the text, which nobody sees.
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

/// What [`kube::Resource`] and [`kube::runtime::reflector::Lookup`] both ask of a kind, in the `impl` of either: that of the whole.
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

/// Makes a type that holds a part of a resource the same resource as the whole of it: the type needs a field `metadata`.
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
