//! A GPU comes back when its session is deleted: nothing may keep the session then, and the pod goes with it.

use vdi_api::Invalid;

use super::{
    identity::is_exempt,
    rule::{Context, Field},
};
use crate::{
    field::refused,
    host::{Right, may},
    request::Operation,
};

/// The only finalizer that everybody may add: with it a session stays until its pod is gone, and no longer.
const FOREGROUND: &str = "foregroundDeletion";

/// Finalizers that are there already may stay, and be removed. A delete that leaves the pod behind adds `orphan`.
pub fn none(field: &Field, context: &Context) -> Result<(), Invalid> {
    let Some(requester) = &context.request.requester else { return Ok(()) };
    let Some(mut found) = added(field, context)? else { return Ok(()) };
    if is_exempt(requester, context) {
        return Ok(());
    }
    let right = "the verb update on vdisessions/finalizers";
    let allowed = match may(context.host, requester, Right::Keep, context.request.namespace) {
        Ok(true) => return Ok(()),
        Ok(false) => format!("{FOREGROUND}; others can keep a GPU allocated, and require {right}"),
        Err(why) => {
            format!("{FOREGROUND}; others require {right}, and whether RBAC grants it could not be determined: {why}")
        }
    };
    if matches!(context.request.operation, Operation::Delete { .. }) {
        found.push_str(", added by a delete that leaves the pod behind");
    }
    Err(Invalid::value(found, allowed))
}

/// The first that this request adds, as it is shown.
fn added(field: &Field, context: &Context) -> Result<Option<String>, Invalid> {
    match context.request.operation {
        Operation::Delete { orphans, .. } => Ok(orphans.then(|| Invalid::text("orphan", "").found)),
        Operation::Create { .. } | Operation::Update { .. } => {
            let Some(value) = field.value.filter(|value| !value.is_null()) else { return Ok(None) };
            let finalizers = value.as_array().ok_or_else(|| refused(Some(value), "a list of finalizers"))?;
            let before = field.old.flatten().and_then(|old| old.as_array()).map(Vec::as_slice).unwrap_or_default();
            let mut added = finalizers.iter().filter(|it| *it != FOREGROUND && !before.contains(it));
            Ok(added.next().map(|finalizer| refused(Some(finalizer), "").found))
        }
    }
}
