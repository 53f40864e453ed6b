//! What the policy writes into a session. Doing it twice is doing it once, and what this version doesn't know stays.

use serde_json::{Map, Value};
use vdi_api::{Email, Gpus, Invalid, Memory, Timeout};

use crate::{
    address, field,
    request::{Object, Operation, Request},
    settings::Settings,
};

/// Who made the session. Only the policy writes it.
pub const CREATED_BY: &str = "vdi.kasm.io/created-by";

/// A session as it will be stored, and what its user should know of the changes.
///
/// Everything in it that can be reached has the right shape, see [`crate::review`].
pub fn complete(request: &Request, settings: &Settings) -> (Object, Vec<String>) {
    let (object, old) = match request.operation {
        Operation::Create { object } => (object, None),
        Operation::Update { object, old } => (object, Some(old)),
        Operation::Delete { old } => return (old.clone(), Vec::new()),
    };
    let mut object = object.clone();
    let mut warnings = Vec::new();
    warnings.extend(normalize_user(&mut object, old));
    fill_in_defaults(&mut object, old, request, settings);
    warnings.extend(stamp(&mut object, old, request));
    (object, warnings)
}

/// An old session with what it may leave out, so that writing that down is no change.
pub fn with_defaults(old: &Object, request: &Request, settings: &Settings) -> Object {
    let mut old = old.clone();
    fill_in_defaults(&mut old, None, request, settings);
    old
}

/// Lower case for the domain. In an update, the spelling that is stored: it can't be changed.
fn normalize_user(object: &mut Object, old: Option<&Object>) -> Option<String> {
    let user = object.get_mut("spec")?.get_mut("user")?;
    let given = address::parse(user.as_str()?)?;
    let stored = old.and_then(|old| field::at(old, "spec.user")?.as_str()?.parse::<Email>().ok());
    let kept = stored.filter(|stored| stored.is_same_person(&given)).unwrap_or_else(|| given.normalized());
    if kept == given {
        return None;
    }
    *user = kept.as_str().into();
    Some(field::problem(
        "spec.user",
        &Invalid::text(given.as_str(), format!("{:?}, which is stored instead", kept.as_str())),
    ))
}

/// What is there stays, whatever it is.
///
/// With the project's CRD the API server fills in the CRD's defaults when it decodes a request, before any admission
/// webhook sees it; nothing then is absent here. The site's defaults count where the CRD has none.
///
/// What can't change is taken from `old`: an update that leaves a field out (`kubectl replace`) must not look like one
/// that changes it when the default is another by now.
fn fill_in_defaults(object: &mut Object, old: Option<&Object>, request: &Request, settings: &Settings) {
    let template = field::at(object, "spec.template").and_then(Value::as_str).map(str::to_owned);
    let ranges = settings.ranges(template.as_deref(), request.requester.as_ref());
    let default = |range: Option<&Option<Value>>, built_in: Value| range.cloned().flatten().unwrap_or(built_in);
    let Some(spec) = member(object, "spec") else { return };
    let timeout = || default(ranges.timeout.map(|range| &range.default), Timeout::DEFAULT.into());
    spec.entry("timeout").or_insert_with(timeout);
    let Some(resources) = member(spec, "resources") else { return };
    let before = |name: &str| old.and_then(|old| old.get("spec")?.get("resources")?.get(name)).cloned();
    let gpu = || default(ranges.gpu.map(|range| &range.default), Gpus::DEFAULT.get().into());
    let memory = || default(ranges.memory.map(|range| &range.default), Memory::DEFAULT.into());
    resources.entry("gpu").or_insert_with(|| before("gpu").unwrap_or_else(gpu));
    resources.entry("memory").or_insert_with(|| before("memory").unwrap_or_else(memory));
}

/// Writes who makes the session, and keeps it from then on, whatever a client sends.
fn stamp(object: &mut Object, old: Option<&Object>, request: &Request) -> Option<String> {
    let creator = match old {
        Some(old) => old.get("metadata").and_then(|metadata| metadata.get("annotations")?.get(CREATED_BY)).cloned(),
        None => Some(request.requester.as_ref()?.name.into()),
    };
    let annotations = object.get("metadata").and_then(|metadata| metadata.get("annotations")?.as_object());
    let given = annotations.and_then(|annotations| annotations.get(CREATED_BY)).cloned();
    if given == creator {
        return None;
    }
    let annotations = member(member(object, "metadata")?, "annotations")?;
    match &creator {
        Some(creator) => annotations.insert(CREATED_BY.to_owned(), creator.clone()),
        None => annotations.remove(CREATED_BY),
    };
    let kept = creator.map_or_else(|| "nothing".to_owned(), |creator| field::refused(Some(&creator), "").found);
    let allowed = format!("{kept}, which is stored instead");
    given.map(|given| {
        field::problem(&format!("metadata.annotations[{CREATED_BY}]"), &field::refused(Some(&given), &allowed))
    })
}

/// A member that is an object, made when it is absent or null. `None` when it is there and something else.
fn member<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    object.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}
