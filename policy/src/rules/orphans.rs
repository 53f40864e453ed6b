//! Deleting a session must release its GPU: nothing may delay the deletion, or leave the pod behind.

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

/// The only finalizer that everybody may add: it delays the deletion only until the pod is gone.
const FOREGROUND: &str = "foregroundDeletion";

/// Existing finalizers may stay or be removed. A delete that leaves the pod behind adds `orphan`.
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

/// The first finalizer that this request adds, quoted.
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
