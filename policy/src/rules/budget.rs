//! Limits on what one user has at a time. Simultaneous requests don't count each other: a limit restrains people, but is no lock.

use serde_json::Value;
use vdi_api::{Email, Invalid};

use super::rule::{Context, Field};
use crate::{field, host, request::Object, setting::Count};

pub fn sessions(field: &Field, context: &Context) -> Result<(), Invalid> {
    let Some(Count(allowed)) = context.site.per_user.sessions else { return Ok(()) };
    if field.old.is_some() {
        return Ok(());
    }
    let Some(others) = others(context, "sessions", allowed)? else { return Ok(()) };
    let live: Vec<_> = others.iter().filter(|session| session.is_live).collect();
    if live.len() < allowed as usize {
        return Ok(());
    }
    let names = live.iter().map(|session| session.name.as_str());
    Err(Invalid::value(
        format!("{} sessions including this one (others: {})", live.len() + 1, listed(names)),
        format!("{allowed} per user"),
    ))
}

pub fn gpus(field: &Field, context: &Context) -> Result<(), Invalid> {
    let Some(Count(allowed)) = context.site.per_user.gpus else { return Ok(()) };
    let suspended = |object: &Object| field::at(object, "spec.suspend").and_then(Value::as_bool) == Some(true);
    // The GPUs of a new session are checked once, on their own field, and again whenever the session is resumed.
    let resumed = field.path == "spec.suspend";
    if suspended(context.object) || resumed != field.old.is_some() {
        return Ok(());
    }
    let Some(others) = others(context, "GPUs", allowed)? else { return Ok(()) };
    let wanted = gpus_of(context.object);
    // Numbers that the CRD would refuse arrive here too, and must not wrap around to a small sum.
    let total = others.iter().map(|session| session.gpus).fold(wanted, u64::saturating_add);
    if total <= u64::from(allowed) {
        return Ok(());
    }
    let holders = others.iter().filter(|session| session.gpus > 0);
    let holders: Vec<_> = holders.map(|session| format!("{} {}", session.name, session.gpus)).collect();
    let others = match &holders[..] {
        [] => String::new(),
        holders => format!(" (others: {})", listed(holders.iter().map(String::as_str))),
    };
    Err(Invalid::value(format!("{total} GPUs including this session{others}"), format!("{allowed} per user")))
}

/// Another session of the user.
struct Other {
    /// `namespace/name`
    name: String,
    /// Neither being deleted nor ended.
    is_live: bool,
    /// 0 if it neither holds GPUs nor is about to.
    gpus: u64,
}

/// The user's sessions without this one. `None` without a user, which other rules refuse.
fn others(context: &Context, what: &str, allowed: u32) -> Result<Option<Vec<Other>>, Invalid> {
    let email = |object: &Object| {
        field::at(object, "spec.user").and_then(Value::as_str).and_then(|user| user.parse::<Email>().ok())
    };
    let Some(user) = email(context.object) else { return Ok(None) };
    let this = name_of(context.object, context.request.namespace);
    let all = host::sessions(context.host)
        .map_err(|why| Invalid::value(format!("an unknown number of {what} ({why})"), format!("{allowed} per user")))?;
    let of_user = all
        .iter()
        .filter_map(Value::as_object)
        .filter(|session| email(session).is_some_and(|owner| owner.is_same_person(&user)));
    let named = of_user.map(|session| Other {
        name: name_of(session, None),
        is_live: is_live(session),
        gpus: if holds_gpus(session) { gpus_of(session) } else { 0 },
    });
    let mut others: Vec<_> = named.filter(|session| session.name != this).collect();
    others.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(others))
}

fn phase(session: &Object) -> Option<&str> {
    field::at(session, "status.phase").and_then(Value::as_str)
}

fn is_live(session: &Object) -> bool {
    field::at(session, "metadata.deletionTimestamp").is_none_or(Value::is_null)
        && !matches!(phase(session), Some("Failed" | "Terminating"))
}

/// Until the pod is gone and the controller removes its name from the status. The pod of a failed session has ended.
fn holds_gpus(session: &Object) -> bool {
    let is_suspended = field::at(session, "spec.suspend").and_then(Value::as_bool) == Some(true);
    let has_pod = field::at(session, "status.podName").is_some_and(|name| !name.is_null());
    phase(session) != Some("Failed") && (has_pod || is_live(session) && !is_suspended)
}

fn gpus_of(session: &Object) -> u64 {
    field::at(session, "spec.resources.gpu").and_then(Value::as_u64).unwrap_or(1)
}

fn name_of(session: &Object, namespace: Option<&str>) -> String {
    let part = |path| field::at(session, path).and_then(Value::as_str);
    format!(
        "{}/{}",
        part("metadata.namespace").or(namespace).unwrap_or_default(),
        part("metadata.name").unwrap_or_default()
    )
}

/// Lists the first few, to keep the message readable.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 10;
    let names: Vec<_> = names.map(host::readable).collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
