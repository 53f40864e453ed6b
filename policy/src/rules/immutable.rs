use vdi_api::Invalid;

use super::rule::{Context, Field};
use crate::field::refused;

/// Compares JSON values, as the CRD's `self == oldSelf` does: `4096Mi` instead of `4Gi` is a change.
pub fn unchanged(field: &Field, _: &Context) -> Result<(), Invalid> {
    match field.old {
        None => Ok(()),
        Some(old) => {
            let was = refused(old, "").found;
            Err(refused(field.value, &format!("{was}, which can't change after the session is created")))
        }
    }
}
