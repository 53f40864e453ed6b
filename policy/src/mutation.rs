//! What the policy writes into a session. It is idempotent, and leaves unknown fields alone.

use std::borrow::Cow;

use serde_json::{Map, Value};
use vdi_api::{Email, Gpus, Invalid, Memory, Timeout, desktop_pod::CREATED_BY};

use crate::{
    field,
    request::{Object, Operation, Request},
    site::Site,
    values::address,
};

/// A session as it will be stored, owned if it differs from the request, and warnings about the changes.
pub fn complete<'a>(request: &Request<'a>, site: &Site) -> (Cow<'a, Object>, Vec<String>) {
    let (object, old) = match request.operation {
        Operation::Create { object } => (object, None),
        Operation::Update { object, old } => (object, Some(old)),
        Operation::Delete { old, .. } => return (Cow::Borrowed(old), Vec::new()),
    };
    let mut object = Cow::Borrowed(object);
    let mut warnings = Vec::new();
    warnings.extend(normalize_user(&mut object, old));
    fill_in_defaults(&mut object, old, request, site);
    warnings.extend(stamp(&mut object, old, request));
    (object, warnings)
}

/// A stored session with defaults filled in, so that setting a field to its default is no change.
pub fn with_defaults<'a>(old: &'a Object, request: &Request, site: &Site) -> Cow<'a, Object> {
    let mut old = Cow::Borrowed(old);
    fill_in_defaults(&mut old, None, request, site);
    old
}

/// Converts the domain to lower case. An update keeps the stored spelling, because the field is immutable.
fn normalize_user(object: &mut Cow<Object>, old: Option<&Object>) -> Option<String> {
    let given = address::parse(field::at(object, "spec.user")?.as_str()?)?;
    let stored = old.and_then(|old| field::at(old, "spec.user")?.as_str()?.parse::<Email>().ok());
    let kept = stored.filter(|stored| stored.is_same_person(&given)).unwrap_or_else(|| given.normalized());
    if kept == given {
        return None;
    }
    member(object.to_mut(), "spec")?.insert("user".to_owned(), kept.as_str().into());
    let allowed = format!("{:?}, which is stored instead", kept.as_str());
    Some(field::problem("spec.user", &Invalid::text(given.as_str(), allowed)))
}

/// Fills in absent fields, and leaves present ones alone.
///
/// With the project's CRD the API server fills in the CRD's defaults when it decodes a request, before any admission
/// webhook sees it, so nothing is absent here. The site's defaults apply where the CRD has none.
///
/// Immutable fields are taken from `old`: an update that omits a field (`kubectl replace`) must not look like a change if
/// the default has changed since.
fn fill_in_defaults(object: &mut Cow<Object>, old: Option<&Object>, request: &Request, site: &Site) {
    let is_absent = |path: &&str| field::at(object, path).is_none();
    let absent: Vec<_> =
        ["spec.resources.gpu", "spec.resources.memory", "spec.timeout"].into_iter().filter(is_absent).collect();
    if absent.is_empty() {
        return;
    }
    let template = field::at(object, "spec.template").and_then(Value::as_str);
    let ranges = site.ranges(template, request.requester.as_ref());
    for path in absent {
        let (default, built_in) = match path {
            "spec.resources.gpu" => (ranges.gpu.and_then(|range| range.default.as_ref()), Gpus::DEFAULT.get().into()),
            "spec.resources.memory" => (ranges.memory.and_then(|range| range.default.as_ref()), Memory::DEFAULT.into()),
            _ => (ranges.timeout.and_then(|range| range.default.as_ref()), Timeout::DEFAULT.into()),
        };
        let before = old.filter(|_| path != "spec.timeout").and_then(|old| field::at(old, path));
        insert(object.to_mut(), path, before.or(default).cloned().unwrap_or(built_in));
    }
}

/// Records who creates the session, and keeps that record whatever a client sends later.
fn stamp(object: &mut Cow<Object>, old: Option<&Object>, request: &Request) -> Option<String> {
    let stamp_of = |object: &Object| object.get("metadata")?.get("annotations")?.get(CREATED_BY).cloned();
    let creator = match old {
        Some(old) => stamp_of(old),
        None => Some(request.requester.as_ref()?.name.into()),
    };
    let given = stamp_of(object);
    if given == creator {
        return None;
    }
    let annotations = member(member(object.to_mut(), "metadata")?, "annotations")?;
    match &creator {
        Some(creator) => annotations.insert(CREATED_BY.to_owned(), creator.clone()),
        None => annotations.remove(CREATED_BY),
    };
    let kept = creator.map_or_else(|| "nothing".to_owned(), |creator| field::refused(Some(&creator), "").found);
    let problem = field::refused(Some(&given?), &format!("{kept}, which is stored instead"));
    Some(field::problem(&format!("metadata.annotations[{CREATED_BY}]"), &problem))
}

/// Inserts a value at a dotted path, and creates missing parents. If a parent is not an object, it does nothing; the review
/// refuses that object for its shape.
fn insert(object: &mut Object, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            object.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            if let Some(inner) = member(object, head) {
                insert(inner, rest, value);
            }
        }
    }
}

/// A member that is an object, created if absent. `None` if it is something else.
fn member<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    object.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}
