//! Programs that act for people. The gateway's portal writes sessions for whoever is signed in there, and says in annotations who that
//! is. Such a request is judged as that person's.

use serde_json::Value;
use vdi_api::desktop_pod::{ON_BEHALF_OF, ON_BEHALF_OF_GROUPS};

use crate::{
    field::{problem, refused},
    request::{Kind, Object, Request, Requester},
    site::Identity,
};

/// The request as the person's for whom it is made, or as it is: a broker that says nothing acts for itself, with its own rights.
///
/// # Errors
/// When what a broker says is nobody's name, or a part of Kubernetes'.
pub fn resolve<'a>(request: Request<'a>, identity: &Identity) -> Result<Request<'a>, String> {
    let is_broker = request.requester.as_ref().is_some_and(|requester| identity.is_broker(requester));
    if request.kind != Kind::Session || !is_broker {
        return Ok(request);
    }
    // A delete carries no object: the broker has stamped the stored one just before.
    let object = request.object().or(request.old());
    let Some(name) = object.and_then(|object| annotation(object, ON_BEHALF_OF)) else { return Ok(request) };
    let groups = object.and_then(|object| annotation(object, ON_BEHALF_OF_GROUPS));
    let groups: Vec<&str> = groups.and_then(Value::as_str).unwrap_or_default().lines().collect();
    match name.as_str().filter(|name| !name.is_empty() && !name.starts_with(SYSTEM)) {
        // RBAC grants this group everything, so no web server may claim it for anybody.
        Some(_) if groups.contains(&"system:masters") => {
            let allowed = "groups other than system:masters";
            Err(problem(&path(ON_BEHALF_OF_GROUPS), &refused(Some(&"system:masters".into()), allowed)))
        }
        Some(name) => Ok(Request { requester: Some(Requester { name, groups }), is_brokered: true, ..request }),
        None => {
            let allowed = "the user name of the person whom the broker acts for";
            Err(problem(&path(ON_BEHALF_OF), &refused(Some(name), allowed)))
        }
    }
}

/// The prefix of Kubernetes' own users.
const SYSTEM: &str = "system:";

/// The annotation in which a session says something else than before of whom a broker acted for, and what it says.
pub fn claim<'a>(object: &'a Object, old: Option<&Object>) -> Option<(&'static str, &'a Value)> {
    [ON_BEHALF_OF, ON_BEHALF_OF_GROUPS].into_iter().find_map(|name| {
        let claimed = annotation(object, name)?;
        (Some(claimed) != old.and_then(|old| annotation(old, name))).then_some((name, claimed))
    })
}

fn annotation<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get("metadata")?.get("annotations")?.get(name)
}

fn path(annotation: &str) -> String {
    format!("metadata.annotations[{annotation}]")
}
